//! Make anything but a directory.

use bytes::Bytes;
use forebay_types::{Errno, FileKind, InodeId, NewMode, limits};
use forebay_wire::meta::{MetaReply, Mutation, NewContent, NewNode};

use super::commit;
use crate::access::{self, WRITE};
use crate::dir::{self, Birth};
use crate::entry::Effect;
use crate::error::Fault;
use crate::name::{self, NameKind};
use crate::record::Inode;
use crate::tx::Tx;
use crate::{extents, stripes};

pub(super) struct New<'a> {
    pub parent: InodeId,
    pub name: &'a Bytes,
    pub node: &'a NewNode,
    pub mode: NewMode,
    pub exclusive: bool,
    pub open: bool,
}

fn kind_of(node: &NewNode) -> FileKind {
    match node {
        NewNode::File => FileKind::Regular,
        NewNode::Symlink(_) => FileKind::Symlink,
        NewNode::Fifo => FileKind::Fifo,
        NewNode::Socket => FileKind::Socket,
        NewNode::CharDevice(_) => FileKind::CharDevice,
        NewNode::BlockDevice(_) => FileKind::BlockDevice,
    }
}

fn check_node(node: &NewNode, uid: u32) -> Result<(), Errno> {
    match node {
        NewNode::Symlink(target) if target.is_empty() => Err(Errno::NoEntry),
        NewNode::Symlink(target) if target.len() > limits::SYMLINK_MAX => Err(Errno::NameTooLong),
        NewNode::Symlink(target) if target.contains(&0) => Err(Errno::Invalid),
        NewNode::CharDevice(_) | NewNode::BlockDevice(_) if uid != 0 => Err(Errno::NotPermitted),
        _ => Ok(()),
    }
}

pub(super) fn apply(
    tx: &mut Tx<'_>,
    m: &Mutation,
    new: &New<'_>,
    content: Option<&NewContent>,
) -> Result<MetaReply, Fault> {
    let mut parent = dir::need_dir(tx, m.fs, new.parent, &m.cred)?;
    if name::check(new.name)? != NameKind::Plain {
        return Err(if new.exclusive { Errno::Exists } else { Errno::IsDirectory }.into());
    }
    if let Some(there) = dir::find(tx, m.fs, new.parent, new.name)? {
        if new.exclusive {
            return Err(Errno::Exists.into());
        }
        return dir::entry(tx, m.fs, there.ino, there.kind, false);
    }
    access::need(&parent, &m.cred, WRITE)?;
    check_node(new.node, m.cred.uid)?;
    if content.is_some() && m.cred.uid != 0 {
        return Err(Errno::NotPermitted.into());
    }
    let kind = kind_of(new.node);
    let inherited = access::inherit(&parent, &m.cred, new.mode, kind);
    let ino = dir::next_ino(tx)?;
    let (class, quota_dir) = (parent.class, parent.quota_dir);
    let birth = Birth { ino, kind, parent: new.parent, uid: m.cred.uid, class, quota_dir, inherited };
    let mut inode = dir::born(tx, birth);
    match new.node {
        NewNode::Symlink(target) => {
            inode.attr.mode = 0o777;
            inode.attr.size = target.len() as u64;
            inode.target = target.clone();
        }
        NewNode::CharDevice(rdev) | NewNode::BlockDevice(rdev) => inode.attr.rdev = *rdev,
        NewNode::File | NewNode::Fifo | NewNode::Socket => {}
    }
    dir::give_birth(tx, m.fs, &mut inode)?;
    if let Some(content) = content {
        fill(tx, m, &mut inode, content)?;
    }
    dir::insert(tx, m.fs, &mut parent, new.name, ino, kind);
    if new.open {
        tx.effects.push(Effect::Opened { fs: m.fs, session: m.id.session, ino });
    }
    Ok(MetaReply::Entry { ino, kind, attr: Some(inode.attr), created: true })
}

fn fill(tx: &mut Tx<'_>, m: &Mutation, inode: &mut Inode, content: &NewContent) -> Result<(), Fault> {
    inode.attr.uid = content.uid;
    inode.attr.gid = content.gid;
    inode.attr.mtime = content.mtime;
    inode.attr.atime = content.mtime;
    if inode.attr.kind == FileKind::Regular {
        extents::check(&content.extents)?;
        commit::need_nameable(m, &content.extents)?;
        let end = content.extents.last().map_or(0, |e| e.range.end());
        if end > content.size || content.size > limits::FILE_SIZE_MAX {
            return Err(Errno::Invalid.into());
        }
        stripes::admit(tx, m.id, &content.extents, &[])?;
        inode.attr.size = content.size;
        for extent in &content.extents {
            extents::put(tx, m.fs, inode, extent.clone())?;
        }
    }
    tx.put_inode(m.fs, inode);
    Ok(())
}
