//! Small files, read whole: one that is larger than it can be is another file, and must not fill the memory.

use std::{fs::File, io::Read as _, path::Path};

/// Reads a file as text.
///
/// # Errors
/// The file, and why it could not be read.
pub fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text));
    match read {
        Ok(read) if read as u64 <= bytes_max => Ok(text),
        Ok(_) => Err(format!("{} cannot be read: larger than {bytes_max} bytes", path.display())),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}
