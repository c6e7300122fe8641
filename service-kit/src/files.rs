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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let path = std::env::temp_dir().join(format!("telex-file-{}", std::process::id()));
        std::fs::write(&path, "whole").unwrap();
        assert_eq!(read(&path, 5).unwrap(), "whole");
        assert!(read(&path, 4).unwrap_err().ends_with("larger than 4 bytes"));
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, 5).unwrap_err().contains("cannot be read"));
    }
}
