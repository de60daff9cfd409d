//! Mutations, one file each: what they check and what they change in this shard. What another shard has to do as well
//! is in [`crate::txn`].

mod accessed;
mod allocate;
mod commit;
mod copy_range;
mod create;
mod end_session;
mod exchange;
mod fallocate;
mod link;
pub(crate) mod logged;
mod make_root;
mod mkdir;
mod quota;
pub(crate) mod reap;
pub(crate) mod rename;
mod reserve;
mod rmdir;
mod setattr;
mod tmpfile;
mod unlink;
pub(crate) mod xattr;

use forebay_types::{Geometry, PgId};
use forebay_wire::meta::{MutateOp, Mutation};

use crate::error::Fault;
use crate::fsck;
use crate::session::Outcome;
use crate::tx::Tx;

/// Applies a mutation that was not applied before.
pub(crate) fn mutate(tx: &mut Tx<'_>, m: &Mutation, placements: &[(PgId, Geometry)]) -> Result<Outcome, Fault> {
    let reply = match &m.op {
        MutateOp::MakeRoot => make_root::apply(tx, m),
        MutateOp::Create { parent, name, node, mode, exclusive, open, content } => {
            let new = create::New { parent: *parent, name, node, mode: *mode, exclusive: *exclusive, open: *open };
            create::apply(tx, m, &new, content.as_deref())
        }
        MutateOp::Mkdir { parent, name, mode } => return mkdir::apply(tx, m, *parent, name, *mode),
        MutateOp::Unlink { parent, name } => return unlink::apply(tx, m, *parent, name),
        MutateOp::Rmdir { parent, name } => return rmdir::apply(tx, m, *parent, name),
        MutateOp::Rename { parent, name, new_parent, new_name, how } => {
            let from = rename::Place { dir: *parent, name };
            let to = rename::Place { dir: *new_parent, name: new_name };
            return rename::apply(tx, m, from, to, *how);
        }
        MutateOp::Link { ino, parent, name } => return link::apply(tx, m, *ino, *parent, name),
        MutateOp::SetAttr { ino, set } => setattr::apply(tx, m, *ino, set),
        MutateOp::SetXattr { ino, name, value, when } => xattr::set(tx, m, *ino, name, value, *when),
        MutateOp::RemoveXattr { ino, name } => xattr::remove(tx, m, *ino, name),
        MutateOp::AllocateStripes { class, .. } => allocate::apply(tx, m, *class, placements),
        MutateOp::Commit { ino, extents, receipts, size_at_least, touch, drop_privileges } => {
            let (touch, drop_privileges) = (*touch, *drop_privileges);
            let new = commit::New { extents, receipts, size_at_least: *size_at_least, touch, drop_privileges };
            commit::apply(tx, m, *ino, &new)
        }
        MutateOp::Exchange { ino, expect, replace, receipts } => {
            exchange::apply(tx, m, *ino, expect, replace, receipts)
        }
        MutateOp::EndSession { session } => end_session::apply(tx, m, *session),
        MutateOp::Tmpfile { parent, mode, linkable } => tmpfile::apply(tx, m, *parent, *mode, *linkable),
        &MutateOp::Fallocate { ino, range, zero, keep_size, drop_privileges } => {
            fallocate::apply(tx, m, ino, fallocate::Shape { range, zero, keep_size, drop_privileges })
        }
        &MutateOp::CopyRange { from, range, to, to_offset, drop_privileges } => {
            copy_range::apply(tx, m, copy_range::Copy { from, range, to, to_offset, drop_privileges })
        }
        MutateOp::Accessed { ino, at } => accessed::apply(tx, m, *ino, *at),
        MutateOp::ReserveInodes { count } => reserve::apply(tx, *count),
        MutateOp::Logged { ops } => logged::apply(tx, m, ops),
        MutateOp::Quota(change) => quota::apply(tx, m, change),
        MutateOp::Repair(repair) => fsck::repair::apply(tx, m, repair),
    }?;
    Ok(Outcome::Done(reply))
}
