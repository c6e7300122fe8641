//! Entries sorted into buckets, however many there are: in memory up to a budget, beyond it in a file.
//!
//! What is in memory when the budget is used up goes to the file as one *run*: an index, then the
//! buckets' bytes one after the other. A bucket is read by taking its part of every run, so memory holds
//! the budget and eight bytes a run, and the file is only appended to and read in large pieces.
//!
//! The file has no name: it is unlinked as soon as it is open, so that a killed process leaves nothing.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    marker::PhantomData,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::entries::Fixed;

/// Bytes of a start in a run's index.
const START: usize = size_of::<u32>();

pub struct Spill<E> {
    buckets: Vec<Vec<u8>>,
    /// What the buckets have allocated, and may.
    memory: usize,
    memory_max: usize,
    file: Option<File>,
    /// Where each run starts in the file, and where the next will.
    runs: Vec<u64>,
    end: u64,
    entries: PhantomData<fn() -> E>,
}

impl<E: Fixed> Spill<E> {
    /// Empty buckets that share `memory_max` bytes.
    pub fn new(buckets: usize, memory_max: usize) -> Self {
        Self {
            buckets: (0..buckets).map(|_| Vec::new()).collect(),
            memory: 0,
            // A run's index counts in 32 bits.
            memory_max: memory_max.min(1 << 30),
            file: None,
            runs: Vec::new(),
            end: 0,
            entries: PhantomData,
        }
    }

    /// Adds an entry to a bucket. A bucket that is not there takes nothing.
    ///
    /// # Errors
    /// The file cannot be made or written: most likely the directory's disk is full.
    pub fn push(&mut self, bucket: usize, entry: &E, directory: &Path) -> io::Result<()> {
        let Some(bytes) = self.buckets.get_mut(bucket) else {
            return Ok(());
        };
        let before = bytes.capacity();
        entry.write(bytes);
        self.memory += bytes.capacity() - before;
        if self.memory > self.memory_max { self.write_run(directory) } else { Ok(()) }
    }

    /// Appends the entries of a bucket to `entries`, in no order.
    pub fn read(&self, bucket: usize, entries: &mut Vec<E>) -> io::Result<()> {
        if let Some(file) = &self.file {
            let index = u64::try_from(bucket * START).map_err(io::Error::other)?;
            let mut part = Vec::new();
            for run in &self.runs {
                let mut starts = [0; 2 * START];
                file.read_exact_at(&mut starts, run + index)?;
                let (start, end) = starts.split_at(START);
                let (start, end) = (u64::from(number(start)), u64::from(number(end)));
                part.resize(usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?, 0);
                file.read_exact_at(&mut part, run + start)?;
                entries.extend(part.chunks_exact(E::SIZE).map(|mut entry| E::read(&mut entry)));
            }
        }
        let in_memory = self.buckets.get(bucket).map_or(&[][..], Vec::as_slice);
        entries.extend(in_memory.chunks_exact(E::SIZE).map(|mut entry| E::read(&mut entry)));
        Ok(())
    }

    /// Writes everything that is in memory to the file.
    fn write_run(&mut self, directory: &Path) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nameless(directory)?),
        };
        let mut start = (self.buckets.len() + 1) * START;
        let mut run = Vec::with_capacity(start);
        for length in self.buckets.iter().map(Vec::len).chain([0]) {
            run.extend_from_slice(&u32::try_from(start).map_err(io::Error::other)?.to_le_bytes());
            start += length;
        }
        file.write_all(&run)?;
        for bucket in &mut self.buckets {
            // Taken, not cleared: an empty bucket must not keep its allocation.
            file.write_all(&std::mem::take(bucket))?;
        }
        self.memory = 0;
        self.runs.push(self.end);
        self.end += u64::try_from(start).map_err(io::Error::other)?;
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// A file that nobody else can open: it holds client ids.
fn nameless(directory: &Path) -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("telex-prove-{}-{number}", std::process::id()));
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = made.map_err(|error| {
        let directory = directory.display();
        io::Error::new(error.kind(), format!("--directory {directory} takes no file: {error}"))
    })?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spill: &Spill<u64>, bucket: usize) -> Vec<u64> {
        let mut entries = Vec::new();
        spill.read(bucket, &mut entries).unwrap();
        entries.sort_unstable();
        entries
    }

    #[test]
    fn every_bucket_gives_back_what_it_got_whether_it_fitted_in_memory_or_not() {
        for memory_max in [0, 1_000, usize::MAX] {
            let mut spill = Spill::new(7, memory_max);
            for number in 0..5_000_u64 {
                // Bucket 6 stays empty.
                spill.push(usize::try_from(number % 6).unwrap(), &number, &std::env::temp_dir()).unwrap();
            }
            for bucket in 0..7 {
                let expected: Vec<u64> = (0..5_000).filter(|n| n % 6 == bucket && bucket < 6).collect();
                assert_eq!(read(&spill, usize::try_from(bucket).unwrap()), expected, "{memory_max}");
            }
            assert_eq!(spill.file.is_none(), memory_max == usize::MAX);
        }
    }

    #[test]
    fn memory_stays_within_the_budget() {
        let mut spill = Spill::new(100, 64 * 1024);
        for number in 0..200_000_u64 {
            spill.push(usize::try_from(number * 7 % 100).unwrap(), &number, &std::env::temp_dir()).unwrap();
            let allocated: usize = spill.buckets.iter().map(Vec::capacity).sum();
            assert!(allocated <= 64 * 1024, "{allocated}");
        }
        assert!(spill.runs.len() > 10);
    }

    #[test]
    fn a_directory_that_takes_no_file_is_an_error() {
        let mut spill = Spill::new(1, 0);
        assert!(spill.push(0, &1_u64, Path::new("/nonexistent")).is_err());
    }
}
