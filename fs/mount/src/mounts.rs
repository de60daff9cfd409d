//! What is mounted on this node, from `/proc/self/mountinfo`, and taking mounts down.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

/// Type of our mounts as `/proc/mounts` shows it.
pub const FSTYPE: &str = "fuse.forebay";
/// What comes after `fuse.` in it.
pub const SUBTYPE: &str = "forebay";
/// Where the kernel lists FUSE connections, by device minor.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// A mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountEntry {
    /// Device, `major:minor`.
    pub device: String,
    /// Where.
    pub mountpoint: PathBuf,
    /// Type, as in `ext4`.
    pub fstype: String,
    /// What, as in `/dev/sda1`.
    pub source: String,
}

/// Everything mounted in this process's namespace, in the order it was mounted.
pub fn all() -> io::Result<Vec<MountEntry>> {
    Ok(std::fs::read("/proc/self/mountinfo")?.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// What is mounted on a path; the topmost where there are several.
pub fn at(mountpoint: &Path) -> io::Result<Option<MountEntry>> {
    Ok(all()?.into_iter().rfind(|entry| entry.mountpoint == mountpoint))
}

/// Our own mounts.
pub fn ours() -> io::Result<Vec<MountEntry>> {
    Ok(all()?.into_iter().filter(|entry| entry.fstype == FSTYPE).collect())
}

/// One line of mountinfo: `id parent major:minor root mountpoint options [optional...] - type source options`.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = String::from_utf8_lossy(fields.nth(2)?).into_owned();
    let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    fields.find(|field| *field == b"-")?;
    let fstype = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let source = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    Some(MountEntry { device, mountpoint, fstype, source })
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match octal {
            Some(digits) => {
                out.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8) + (digit - b'0')));
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

impl MountEntry {
    /// Unmounts it, if it still is what is mounted there. With `lazy`, also while files are open: it vanishes from the
    /// tree now and ends with the last of them.
    pub fn unmount(&self, lazy: bool) -> io::Result<()> {
        if at(&self.mountpoint)?.is_none_or(|entry| entry.device != self.device) {
            return Ok(());
        }
        let flags = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
        Ok(umount2(&self.mountpoint, flags | MntFlags::UMOUNT_NOFOLLOW)?)
    }

    /// Makes every request that is waiting, and every later one, fail at once.
    pub fn abort(&self) -> io::Result<()> {
        let minor = self.device.split_once(':').map_or("", |(_, minor)| minor);
        std::fs::write(Path::new(CONNECTIONS).join(minor).join("abort"), b"1")
    }

    /// Processes that have files or their working directory there, as `pid (name)`, at most a few.
    #[must_use]
    pub fn holders(&self) -> Vec<String> {
        const MOST: usize = 8;
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let own = std::process::id().to_string();
        let pids = processes.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        pids.filter(|pid| *pid != own && pid.bytes().all(|byte| byte.is_ascii_digit()))
            .filter(|pid| self.is_held_by(Path::new("/proc").join(pid).as_path()))
            .map(|pid| {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                format!("{pid} ({})", name.trim())
            })
            .take(MOST)
            .collect()
    }

    fn is_held_by(&self, process: &Path) -> bool {
        let inside = |link: PathBuf| std::fs::read_link(link).is_ok_and(|target| target.starts_with(&self.mountpoint));
        let open = || {
            let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            files.into_iter().any(|file| inside(file.path()))
        };
        ["cwd", "root", "exe"].iter().any(|link| inside(process.join(link))) || open()
    }
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
