//! The verbs of scripts: one system call each, or nearly so.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    self, Access, AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, StatxFlags,
    Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::actor::{Open, Outcome};
use super::script::{bytes, word};
use super::{id_of, name_of};

const DONE: Outcome = Ok(Vec::new());
/// Largest value of an extended attribute, in bytes.
const VALUE_MAX: usize = 65_536;

fn done(result: Result<(), Errno>) -> Outcome {
    result.map(|()| Vec::new())
}

fn path(word: &str) -> Result<CString, Errno> {
    CString::new(bytes(word)).map_err(|_| Errno::INVAL)
}

fn mode(text: &str) -> Result<Mode, Errno> {
    u32::from_str_radix(text, 8).map(Mode::from_raw_mode).map_err(|_| Errno::INVAL)
}

fn number(text: &str) -> Result<u64, Errno> {
    text.parse().map_err(|_| Errno::INVAL)
}

fn id(text: &str) -> Result<Option<u32>, Errno> {
    if text == "-" { Ok(None) } else { id_of(text).map(Some).ok_or(Errno::INVAL) }
}

fn io(error: &std::io::Error) -> Errno {
    Errno::from_raw_os_error(error.raw_os_error().unwrap_or(5))
}

/// Does what `verb` says.
pub(super) fn call(open: &mut Open, verb: &str, arguments: &[&str]) -> Outcome {
    match (verb, arguments) {
        ("cd", [p]) => done(rustix::process::chdir(path(p)?)),
        ("umask", [m]) => {
            rustix::process::umask(mode(m)?);
            DONE
        }
        ("mkdir" | "mkfifo" | "mknod" | "create" | "symlink" | "link" | "put", _) => make(verb, arguments),
        ("rename" | "exchange" | "noreplace" | "unlink" | "rmdir", _) => move_or_remove(verb, arguments),
        ("chmod" | "chown" | "lchown" | "truncate" | "utimes" | "lutimes", _) => change(verb, arguments),
        ("stat" | "lstat" | "access" | "readlink" | "cat" | "ls" | "names" | "statfs", _) => look(verb, arguments),
        ("setxattr" | "lsetxattr" | "getxattr" | "listxattr" | "removexattr" | "setacl" | "getacl", _) => {
            attribute(verb, arguments)
        }
        _ => of_open_file(open, verb, arguments),
    }
}

fn make(verb: &str, arguments: &[&str]) -> Outcome {
    done(match (verb, arguments) {
        ("mkdir", [p, m]) => fs::mkdirat(CWD, path(p)?, mode(m)?),
        ("create", [p, m]) => fs::open(path(p)?, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, mode(m)?).map(drop),
        ("put", [p, text]) => {
            let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY;
            let file = fs::open(path(p)?, flags, Mode::from_raw_mode(0o666))?;
            rustix::io::write(file, &bytes(text)).map(drop)
        }
        ("mkfifo", [p, m]) => fs::mknodat(CWD, path(p)?, FileType::Fifo, mode(m)?, 0),
        ("mknod", [p, kind, m, major, minor]) => {
            let kind = match *kind {
                "b" => FileType::BlockDevice,
                "c" => FileType::CharacterDevice,
                "s" => FileType::Socket,
                "f" => FileType::RegularFile,
                _ => return Err(Errno::INVAL),
            };
            let device = fs::makedev(number(major)? as u32, number(minor)? as u32);
            fs::mknodat(CWD, path(p)?, kind, mode(m)?, device)
        }
        ("symlink", [target, p]) => fs::symlinkat(path(target)?, CWD, path(p)?),
        ("link", [old, new]) => fs::linkat(CWD, path(old)?, CWD, path(new)?, AtFlags::empty()),
        _ => Err(Errno::NOSYS),
    })
}

fn move_or_remove(verb: &str, arguments: &[&str]) -> Outcome {
    let flags = match verb {
        "exchange" => RenameFlags::EXCHANGE,
        "noreplace" => RenameFlags::NOREPLACE,
        _ => RenameFlags::empty(),
    };
    done(match (verb, arguments) {
        ("unlink", [p]) => fs::unlinkat(CWD, path(p)?, AtFlags::empty()),
        ("rmdir", [p]) => fs::unlinkat(CWD, path(p)?, AtFlags::REMOVEDIR),
        (_, [old, new]) => fs::renameat_with(CWD, path(old)?, CWD, path(new)?, flags),
        _ => Err(Errno::NOSYS),
    })
}

fn change(verb: &str, arguments: &[&str]) -> Outcome {
    done(match (verb, arguments) {
        ("chmod", [p, m]) => fs::chmodat(CWD, path(p)?, mode(m)?, AtFlags::empty()),
        ("chown" | "lchown", [p, user, group]) => {
            let follow = if verb == "lchown" { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
            let (user, group) = (id(user)?.map(Uid::from_raw), id(group)?.map(Gid::from_raw));
            fs::chownat(CWD, path(p)?, user, group, follow)
        }
        ("truncate", [p, size]) => {
            let size = i64::try_from(number(size)?).map_err(|_| Errno::FBIG)?;
            nix::unistd::truncate(path(p)?.as_c_str(), size).map_err(|e| Errno::from_raw_os_error(e as i32))
        }
        ("utimes" | "lutimes", [p, access, change]) => {
            let follow = if verb == "lutimes" { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
            let times = Timestamps { last_access: time(access)?, last_modification: time(change)? };
            fs::utimensat(CWD, path(p)?, &times, follow)
        }
        _ => Err(Errno::NOSYS),
    })
}

/// `now`, `omit`, or seconds and nanoseconds with a dot between.
fn time(text: &str) -> Result<Timespec, Errno> {
    match text {
        "now" => Ok(Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW }),
        "omit" => Ok(Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT }),
        _ => {
            let (secs, nanos) = text.split_once('.').unwrap_or((text, "0"));
            let parse = |text: &str| text.parse().map_err(|_| Errno::INVAL);
            Ok(Timespec { tv_sec: parse(secs)?, tv_nsec: parse(nanos)? })
        }
    }
}

fn look(verb: &str, arguments: &[&str]) -> Outcome {
    match (verb, arguments) {
        ("stat", [p]) => told(&fs::statx(CWD, path(p)?, AtFlags::empty(), StatxFlags::ALL)?),
        ("lstat", [p]) => told(&fs::statx(CWD, path(p)?, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::ALL)?),
        ("access", [p, what]) => {
            let bit = |letter, access| if what.contains(letter) { access } else { Access::empty() };
            let access = bit('r', Access::READ_OK) | bit('w', Access::WRITE_OK) | bit('x', Access::EXEC_OK);
            done(fs::accessat(CWD, path(p)?, access, AtFlags::EACCESS))
        }
        ("readlink", [p]) => Ok(vec![word(fs::readlinkat(CWD, path(p)?, Vec::new())?.as_bytes())]),
        ("cat", [p]) => {
            let file = fs::open(path(p)?, OFlags::RDONLY, Mode::empty())?;
            let mut text = vec![0; VALUE_MAX];
            let len = rustix::io::read(file, &mut text)?;
            Ok(vec![word(&text[..len])])
        }
        ("ls" | "names", [p]) => {
            let folder = std::ffi::OsStr::from_bytes(path(p)?.as_bytes()).to_owned();
            let entries = std::fs::read_dir(folder).map_err(|error| io(&error))?;
            let mut names = Vec::new();
            for entry in entries {
                names.push(word(entry.map_err(|error| io(&error))?.file_name().as_bytes()));
            }
            names.sort();
            Ok(vec![if names.is_empty() { "empty".to_owned() } else { names.join(",") }])
        }
        ("statfs", [p]) => {
            let told = fs::statvfs(path(p)?)?;
            let sane = told.f_bavail <= told.f_bfree && told.f_bfree <= told.f_blocks && told.f_blocks > 0;
            let inodes = told.f_ffree <= told.f_files && told.f_files > 0;
            Ok(vec![format!("name_max={}", told.f_namemax), format!("sane={}", sane && inodes)])
        }
        _ => Err(Errno::NOSYS),
    }
}

fn told(stat: &fs::Statx) -> Outcome {
    let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Unknown => "unknown",
    };
    let at = |name: &str, time: fs::StatxTimestamp| format!("{name}={}.{:09}", time.tv_sec, time.tv_nsec);
    let born = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(vec![
        format!("type={kind}"),
        format!("mode={:04o}", stat.stx_mode & 0o7777),
        format!("nlink={}", stat.stx_nlink),
        format!("uid={}", name_of(stat.stx_uid)),
        format!("gid={}", name_of(stat.stx_gid)),
        format!("size={}", stat.stx_size),
        format!("allocated={}", stat.stx_blocks > 0),
        format!("ino={}", stat.stx_ino),
        format!("device={}:{}", stat.stx_rdev_major, stat.stx_rdev_minor),
        at("atime", stat.stx_atime),
        at("mtime", stat.stx_mtime),
        at("ctime", stat.stx_ctime),
        format!(
            "born={}",
            born && (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec) <= (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)
        ),
    ])
}

fn attribute(verb: &str, arguments: &[&str]) -> Outcome {
    match (verb, arguments) {
        ("setxattr" | "lsetxattr", [p, name, value, when @ ..]) => {
            let flags = match when {
                ["create"] => XattrFlags::CREATE,
                ["replace"] => XattrFlags::REPLACE,
                _ => XattrFlags::empty(),
            };
            let value = bytes(value);
            done(match verb {
                "setxattr" => fs::setxattr(path(p)?, path(name)?, &value, flags),
                _ => fs::lsetxattr(path(p)?, path(name)?, &value, flags),
            })
        }
        ("getxattr", [p, name]) => Ok(vec![word(&value(p, name)?)]),
        ("listxattr", [p]) => {
            let mut list = vec![0; VALUE_MAX];
            let len = fs::llistxattr(path(p)?, &mut list)?;
            let names = list[..len].split(|b| *b == 0).filter(|name| !name.is_empty());
            // Security modules of this machine have names of their own everywhere.
            let mut names: Vec<String> =
                names.map(word).filter(|name| name != "security.selinux" && name != "security.evm").collect();
            names.sort();
            Ok(vec![if names.is_empty() { "none".to_owned() } else { names.join(",") }])
        }
        ("removexattr", [p, name]) => done(fs::removexattr(path(p)?, path(name)?)),
        ("setacl", [p, kind, list]) => done(fs::setxattr(path(p)?, acl_name(kind)?, &acl(list)?, XattrFlags::empty())),
        ("getacl", [p, kind]) => Ok(vec![acl_text(&value(p, acl_name(kind)?)?)]),
        _ => Err(Errno::NOSYS),
    }
}

fn value(file: &str, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; VALUE_MAX];
    let len = fs::getxattr(path(file)?, path(name)?, &mut value)?;
    value.truncate(len);
    Ok(value)
}

fn acl_name(kind: &str) -> Result<&'static str, Errno> {
    match kind {
        "access" => Ok("system.posix_acl_access"),
        "default" => Ok("system.posix_acl_default"),
        _ => Err(Errno::INVAL),
    }
}

/// Tags of list entries, by their letters: owner, user, group, named group, mask, others.
const TAGS: [(&str, u16); 4] = [("u", 1), ("g", 4), ("m", 16), ("o", 32)];

/// A list like `u::rwx,u:alice:rw-,g::r--,m::rw-,o::---` as the kernel takes it.
fn acl(text: &str) -> Result<Vec<u8>, Errno> {
    let mut out = vec![2, 0, 0, 0];
    for entry in text.split(',') {
        let parts: Vec<&str> = entry.split(':').collect();
        let [tag, name, permissions] = parts[..] else { return Err(Errno::INVAL) };
        let (_, tag) = TAGS.iter().find(|(letter, _)| *letter == tag).ok_or(Errno::INVAL)?;
        let (tag, id) = match id_of(name).filter(|_| !name.is_empty()) {
            Some(id) => (tag * 2, id),
            None => (*tag, u32::MAX),
        };
        let bit = |letter, bit: u16| if permissions.contains(letter) { bit } else { 0 };
        let permissions = bit('r', 4) | bit('w', 2) | bit('x', 1);
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    Ok(out)
}

fn acl_text(value: &[u8]) -> String {
    let entries = value.get(4..).unwrap_or_default().chunks_exact(8).map(|entry| {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let named = matches!(tag, 2 | 8);
        let letter = TAGS.iter().find(|(_, known)| if named { tag == known * 2 } else { tag == *known });
        let named = if named { name_of(id) } else { String::new() };
        let bit = |bit, letter| if entry[2] & bit != 0 { letter } else { '-' };
        format!("{}:{named}:{}{}{}", letter.map_or("?", |l| l.0), bit(4, 'r'), bit(2, 'w'), bit(1, 'x'))
    });
    entries.collect::<Vec<_>>().join(",")
}

fn flags(text: &str) -> Result<OFlags, Errno> {
    let mut flags = OFlags::empty();
    for flag in text.split(',') {
        flags |= match flag {
            "r" => OFlags::RDONLY,
            "w" => OFlags::WRONLY,
            "rw" => OFlags::RDWR,
            "creat" => OFlags::CREATE,
            "excl" => OFlags::EXCL,
            "trunc" => OFlags::TRUNC,
            "append" => OFlags::APPEND,
            "dir" => OFlags::DIRECTORY,
            "nofollow" => OFlags::NOFOLLOW,
            "nonblock" => OFlags::NONBLOCK,
            _ => return Err(Errno::INVAL),
        };
    }
    Ok(flags)
}

fn of_open_file(open: &mut Open, verb: &str, arguments: &[&str]) -> Outcome {
    match (verb, arguments) {
        ("open", [name, p, how, m @ ..]) => {
            let m = m.first().map_or(Ok(Mode::empty()), |m| mode(m))?;
            open.insert((*name).to_owned(), fs::open(path(p)?, flags(how)?, m)?);
            return DONE;
        }
        ("tmpfile", [name, folder, how, m]) => {
            open.insert((*name).to_owned(), fs::open(path(folder)?, flags(how)? | OFlags::TMPFILE, mode(m)?)?);
            return DONE;
        }
        ("close", [name]) => {
            return open.remove(*name).map_or(Err(Errno::BADF), |_| DONE);
        }
        ("copy", [from, at, to, to_at, len]) => {
            let (source, target) = (open.get(*from).ok_or(Errno::BADF)?, open.get(*to).ok_or(Errno::BADF)?);
            let (mut at, mut to_at, len) = (number(at)?, number(to_at)?, number(len)? as usize);
            let copied = fs::copy_file_range(source, Some(&mut at), target, Some(&mut to_at), len)?;
            return Ok(vec![copied.to_string()]);
        }
        _ => {}
    }
    let (name, rest) = arguments.split_first().ok_or(Errno::INVAL)?;
    let file = open.get(*name).ok_or(Errno::BADF)?.as_fd();
    match (verb, rest) {
        ("write", [text]) => Ok(vec![rustix::io::write(file, &bytes(text))?.to_string()]),
        ("pwrite", [at, text]) => Ok(vec![rustix::io::pwrite(file, &bytes(text), number(at)?)?.to_string()]),
        ("read" | "pread", [at @ .., len]) => {
            let mut text = vec![0; number(len)? as usize];
            let len = match at {
                [at] => rustix::io::pread(file, &mut text, number(at)?)?,
                _ => rustix::io::read(file, &mut text)?,
            };
            Ok(vec![word(&text[..len])])
        }
        ("ftruncate", [size]) => done(fs::ftruncate(file, number(size)?)),
        ("fchmod", [m]) => done(fs::fchmod(file, mode(m)?)),
        ("fchown", [user, group]) => {
            done(fs::fchown(file, id(user)?.map(Uid::from_raw), id(group)?.map(Gid::from_raw)))
        }
        ("fstat", []) => told(&fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::ALL)?),
        ("seek", [what, at]) => {
            let to = if *what == "data" { SeekFrom::Data(number(at)?) } else { SeekFrom::Hole(number(at)?) };
            Ok(vec![fs::seek(file, to)?.to_string()])
        }
        ("fallocate", [how, at, len]) => done(fs::fallocate(file, fallocate_flags(how)?, number(at)?, number(len)?)),
        ("linkfd", [p]) => {
            use std::os::fd::AsRawFd;
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            done(fs::linkat(CWD, own, CWD, path(p)?, AtFlags::SYMLINK_FOLLOW))
        }
        ("fsync", []) => done(fs::fsync(file)),
        ("futimes", [access, change]) => {
            done(fs::futimens(file, &Timestamps { last_access: time(access)?, last_modification: time(change)? }))
        }
        _ => Err(Errno::NOSYS),
    }
}

fn fallocate_flags(text: &str) -> Result<FallocateFlags, Errno> {
    Ok(match text {
        "grow" => FallocateFlags::empty(),
        "keep" => FallocateFlags::KEEP_SIZE,
        "punch" => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        "zero" => FallocateFlags::ZERO_RANGE,
        "zerokeep" => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        "collapse" => FallocateFlags::COLLAPSE_RANGE,
        "insert" => FallocateFlags::INSERT_RANGE,
        _ => return Err(Errno::INVAL),
    })
}
