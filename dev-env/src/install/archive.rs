//! Unpacks a `.txz` without asking for `tar` and `xz` on the machine.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result};
use lzma_rust2::XzReader;
use tar::Archive;

use crate::interrupt;

pub(super) fn unpack(archive: &Path, target: &Path) -> Result<()> {
    std::fs::create_dir_all(target).with_context(|| format!("{} cannot be made", target.display()))?;
    let file = File::open(archive).with_context(|| format!("{} cannot be read", archive.display()))?;
    let mut tar = Archive::new(XzReader::new(BufReader::new(file), true));
    // Its files belong to whoever installs, also when root does.
    tar.set_preserve_ownerships(false);
    let entries = tar.entries().with_context(|| format!("{} is no archive", archive.display()))?;
    for entry in entries {
        interrupt::check()?;
        let mut entry = entry.with_context(|| format!("{} is damaged", archive.display()))?;
        // `unpack_in` refuses paths that lead out of the target.
        entry.unpack_in(target).with_context(|| format!("{} cannot be unpacked", archive.display()))?;
    }
    Ok(())
}
