//! Access control lists as extended attributes carry them: `system.posix_acl_access` and `system.posix_acl_default`.
//!
//! The value is Linux's (`linux/posix_acl_xattr.h`): version 2 as four bytes, then entries of tag (2 bytes), permissions
//! (2 bytes) and id (4 bytes), little-endian, in the order owner, users, group, groups, mask, others.

use bytes::Bytes;
use forebay_types::{Acl, Errno, Perm, limits};

pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Whether an extended attribute is a list.
pub(crate) fn is_list(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

const VERSION: u32 = 2;
const ENTRY: usize = 8;
/// The id of an entry that names nobody.
const NOBODY: u32 = u32::MAX;

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The attribute's value.
pub(crate) fn encode(acl: &Acl) -> Bytes {
    let mut out = Vec::with_capacity(4 + ENTRY * (4 + acl.users.len() + acl.groups.len()));
    out.extend_from_slice(&VERSION.to_le_bytes());
    let mut entry = |tag: u16, perm: Perm, id: u32| {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&u16::from(perm).to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    };
    entry(OWNER, acl.owner, NOBODY);
    acl.users.iter().for_each(|(id, perm)| entry(USER, *perm, *id));
    entry(GROUP, acl.group, NOBODY);
    acl.groups.iter().for_each(|(id, perm)| entry(NAMED_GROUP, *perm, *id));
    acl.mask.iter().for_each(|perm| entry(MASK, *perm, NOBODY));
    entry(OTHER, acl.other, NOBODY);
    out.into()
}

/// The list a value stands for; `None` for one without entries, which takes a list away.
pub(crate) fn decode(value: &[u8]) -> Result<Option<Acl>, Errno> {
    let Some((version, entries)) = value.split_first_chunk::<4>() else {
        return if value.is_empty() { Ok(None) } else { Err(Errno::Invalid) };
    };
    if u32::from_le_bytes(*version) != VERSION {
        return Err(Errno::NotSupported);
    }
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    if !rest.is_empty() {
        return Err(Errno::Invalid);
    }
    if entries.is_empty() {
        return Ok(None);
    }
    if entries.len() > limits::ACL_ENTRIES_MAX + 4 {
        return Err(Errno::NoSpace);
    }
    let mut acl = Acl::default();
    let mut last = 0;
    let mut seen = 0;
    for [tag0, tag1, perm0, perm1, id @ ..] in entries {
        let (tag, perm) = (u16::from_le_bytes([*tag0, *tag1]), u16::from_le_bytes([*perm0, *perm1]));
        let id = u32::from_le_bytes(*id);
        let repeats = matches!(tag, USER | NAMED_GROUP);
        if perm > 7 || tag < last || (tag == last && !repeats) || (repeats && id == NOBODY) {
            return Err(Errno::Invalid);
        }
        let perm = perm as Perm;
        match tag {
            OWNER => acl.owner = perm,
            USER => acl.users.push((id, perm)),
            GROUP => acl.group = perm,
            NAMED_GROUP => acl.groups.push((id, perm)),
            MASK => acl.mask = Some(perm),
            OTHER => acl.other = perm,
            _ => return Err(Errno::Invalid),
        }
        last = tag;
        seen |= tag;
    }
    let named = seen & (USER | NAMED_GROUP) != 0;
    let whole = seen & (OWNER | GROUP | OTHER) == OWNER | GROUP | OTHER && (!named || acl.mask.is_some());
    if whole { Ok(Some(acl)) } else { Err(Errno::Invalid) }
}

#[cfg(test)]
#[path = "acl_tests.rs"]
mod tests;
