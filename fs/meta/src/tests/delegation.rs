//! A client that goes on by itself in directories delegated to it, and the shard that does the same again later.

use std::collections::VecDeque;

use bytes::Bytes;
use forebay_env::Kv;
use forebay_types::{ByteRange, Cred, Errno, Extent, FileKind, InodeId, Location, SessionId, ShardId, Timestamp};
use forebay_wire::meta::{
    LoggedOp, MetaError, MetaReply, MutateOp, NewNode, ReadOp, RenameHow, SetAttr, SetTime, XattrWhen,
};
use proptest::prelude::*;

use super::bytes::commit;
use super::world::{Dice, FS, World, entry, make};
use crate::key::{Keys, Slot};
use crate::{Mirror, Run};

const SHARD: ShardId = ShardId(0);
const CLIENT: SessionId = SessionId(7);

fn users() -> [Cred; 3] {
    [Cred::ROOT, Cred { uid: 10, gid: 10, groups: vec![20] }, Cred { uid: 11, gid: 11, groups: Vec::new() }]
}

/// A client with its mirror, its log and the numbers it may give.
struct Client {
    world: World,
    mirror: Mirror,
    log: Vec<LoggedOp>,
    numbers: VecDeque<InodeId>,
    dirs: Vec<InodeId>,
}

impl Client {
    fn new(seed: u64) -> Self {
        let mut world = World::new(1, seed);
        let dirs: Vec<InodeId> = [("a", 0o777), ("b", 0o1777)]
            .map(|(name, mode)| world.mkdir(&Cred::ROOT, InodeId::ROOT, name, mode))
            .into();
        for (n, dir) in dirs.iter().enumerate() {
            world.create(&users()[n], *dir, "old", 0o644);
        }
        let mut client = Self {
            world,
            mirror: Mirror::new(FS, CLIENT, SHARD, 1),
            log: Vec::new(),
            numbers: VecDeque::new(),
            dirs: dirs.clone(),
        };
        dirs.into_iter().for_each(|dir| client.delegate(dir));
        client
    }

    fn delegate(&mut self, dir: InodeId) {
        match self.world.read(&Cred::ROOT, SHARD, &ReadOp::Delegate { dir }) {
            Ok(MetaReply::Delegated(delegated)) => assert_eq!(self.mirror.add_directory(&delegated).unwrap(), dir),
            other => panic!("{other:?}"),
        }
    }

    /// Carries a mutation out wherever it can be.
    fn mutate(&mut self, cred: &Cred, op: MutateOp) -> MetaReply {
        loop {
            self.world.now.nanos += 1;
            match self.mirror.run(self.world.now, self.numbers.front().copied(), cred, &op) {
                Run::Done(reply, logged) => {
                    if let Some(logged) = logged {
                        self.numbers.pop_front_if(|number| logged.ino == Some(*number));
                        self.log.push(*logged);
                    }
                    return reply;
                }
                Run::NeedsNumber => {
                    let reserve = MutateOp::ReserveInodes { count: 5 };
                    let MetaReply::Inodes { first, count } = self.world.ok(&Cred::ROOT, SHARD, reserve) else {
                        panic!("no numbers")
                    };
                    let all = (0..u64::from(count)).map(|n| InodeId::new(SHARD, first.counter() + n));
                    self.numbers.extend(all);
                }
                Run::Elsewhere => return self.at_the_shard(cred, op),
            }
        }
    }

    fn at_the_shard(&mut self, cred: &Cred, op: MutateOp) -> MetaReply {
        self.flush();
        match &op {
            MutateOp::Mkdir { .. } | MutateOp::Rmdir { .. } => {}
            MutateOp::Unlink { parent, name } => {
                let named = self.mirror.dentry(*parent, name).unwrap().map(|dentry| dentry.ino);
                if let Some(ino) = named.filter(|ino| self.mirror.knows(*ino) && !self.mirror.has_directory(*ino)) {
                    self.tell_open(ino);
                    self.mirror.forget_file(ino);
                }
            }
            // Directories that move are among those that are asked back.
            _ => self.mirror.directories().collect::<Vec<_>>().into_iter().for_each(|dir| self.forget_directory(dir)),
        }
        let reply = self.world.call(cred, SHARD, op.clone()).unwrap_or_else(MetaReply::Error);
        match op {
            MutateOp::Mkdir { .. } | MutateOp::Unlink { .. } | MutateOp::Rmdir { .. }
                if matches!(reply, MetaReply::Error(_)) => {}
            MutateOp::Mkdir { parent, name, .. } => {
                let dir = self.world.attr(parent);
                self.mirror.name_made(&dir, &name, entry(&reply), FileKind::Directory).unwrap();
            }
            MutateOp::Unlink { parent, name } | MutateOp::Rmdir { parent, name } => {
                let dir = self.world.attr(parent);
                self.mirror.name_removed(&dir, &name).unwrap();
            }
            _ => self.dirs.clone().into_iter().for_each(|dir| self.delegate(dir)),
        }
        reply
    }

    fn tell_open(&mut self, ino: InodeId) {
        if self.mirror.is_open(ino) {
            let open = ReadOp::Open { ino, read: false, write: false };
            self.world.read(&Cred::ROOT, SHARD, &open).unwrap();
        }
    }

    fn forget_directory(&mut self, dir: InodeId) {
        for ino in self.mirror.files_of(dir).unwrap() {
            self.tell_open(ino);
            self.mirror.forget_file(ino);
        }
        self.mirror.remove_directory(dir);
    }

    fn flush(&mut self) {
        let ops = std::mem::take(&mut self.log);
        if ops.is_empty() {
            return;
        }
        let done = self.world.ok(&Cred::ROOT, SHARD, MutateOp::Logged { ops: ops.clone() });
        assert_eq!(done, MetaReply::Logged { failed: Vec::new(), over: Vec::new() }, "{ops:#?}");
        self.world.settle();
    }

    /// Rows of an inode in some tables.
    fn rows(&self, kv: &dyn Kv, tables: &[u8], ino: InodeId) -> Vec<(Vec<u8>, Vec<u8>)> {
        let keys = Keys(Slot::FIRST, SHARD);
        let ranges = tables.iter().map(|table| keys.of_inode(*table, FS, ino));
        ranges.flat_map(|(start, end)| kv.scan(&start, &end, usize::MAX).unwrap()).collect()
    }

    /// What is here is what the shard has.
    fn check(&mut self) {
        self.flush();
        let shard = self.world.hosts[0].kv.clone();
        for dir in self.mirror.directories().collect::<Vec<_>>() {
            let here = self.rows(&self.mirror.rows, b"DIK", dir);
            assert_eq!(here, self.rows(&*shard, b"DIK", dir), "{dir}");
            for ino in self.mirror.files_of(dir).unwrap() {
                assert_eq!(self.rows(&self.mirror.rows, b"EIX", ino), self.rows(&*shard, b"EIX", ino), "{ino}");
            }
        }
        self.world.check();
    }
}

fn name(dice: &mut Dice) -> Bytes {
    let names = ["f0", "f1", "f2", "f3", "old", "sub", "."];
    Bytes::from_static(names[dice.roll(names.len() as u64) as usize].as_bytes())
}

/// Something that a program could do in one of the directories.
fn any_op(dice: &mut Dice, client: &Client) -> MutateOp {
    let dirs = &client.dirs;
    let dir = dirs[dice.roll(2) as usize];
    let found = client.mirror.dentry(dir, &name(dice)).unwrap().map(|d| d.ino);
    let ino = found.filter(|_| dice.roll(8) != 0).unwrap_or(dir);
    match dice.roll(16) {
        0..=4 => {
            let node = if dice.roll(4) == 0 { NewNode::Symlink("there".into()) } else { NewNode::File };
            let (name, mode) = (name(dice), ([0o600, 0o666, 0o4755][dice.roll(3) as usize]).into());
            let (exclusive, open) = (dice.roll(2) == 0, dice.roll(3) == 0 && node == NewNode::File);
            MutateOp::Create { parent: dir, name, node, mode, exclusive, open, content: None }
        }
        5..=6 => MutateOp::Unlink { parent: dir, name: name(dice) },
        7..=8 => {
            let how = [RenameHow::Replace, RenameHow::NoReplace, RenameHow::Exchange][dice.roll(3) as usize];
            let (new_parent, new_name) = (dirs[dice.roll(2) as usize], name(dice));
            MutateOp::Rename { parent: dir, name: name(dice), new_parent, new_name, how }
        }
        9..=10 => {
            let some = |dice: &mut Dice, one_in: u64| (dice.roll(one_in) == 0).then_some(());
            let set = SetAttr {
                mode: some(dice, 2).map(|()| dice.roll(0o10000) as u16),
                uid: some(dice, 6).map(|()| 10 + dice.roll(2) as u32),
                gid: some(dice, 4).map(|()| 10 * (1 + dice.roll(2) as u32)),
                size: some(dice, 4).map(|()| dice.roll(40)),
                atime: some(dice, 4).map(|()| SetTime::Now),
                mtime: some(dice, 4).map(|()| SetTime::At(Timestamp { secs: dice.roll(9) as i64, nanos: 1 })),
                ..SetAttr::default()
            };
            MutateOp::SetAttr { ino, set }
        }
        11..=12 => {
            let (at, len) = (dice.roll(30), 1 + dice.roll(10));
            let bytes = Bytes::from(vec![dice.roll(256) as u8; len as usize]);
            commit(ino, vec![Extent { range: ByteRange::new(at, len), location: Location::Inline(bytes) }], Vec::new())
        }
        13 => {
            let when = [XattrWhen::Always, XattrWhen::Absent, XattrWhen::Present][dice.roll(3) as usize];
            MutateOp::SetXattr { ino, name: "user.x".into(), value: "v".into(), when }
        }
        14 => MutateOp::Mkdir { parent: dir, name: name(dice), mode: 0o755.into() },
        _ => MutateOp::Rmdir { parent: dir, name: name(dice) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_shard_comes_to_what_the_client_has(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let mut client = Client::new(seed);
        let mut here = 0;
        for _ in 0..120 {
            let op = any_op(&mut dice, &client);
            let cred = &users()[dice.roll(3) as usize];
            let flushed = client.log.len();
            client.mutate(cred, op);
            here += usize::from(client.log.len() > flushed);
            if dice.roll(12) == 0 {
                let (dir, name) = (client.dirs[dice.roll(2) as usize], name(&mut dice));
                if let Some(dentry) = client.mirror.dentry(dir, &name).unwrap() {
                    client.mirror.read(&Cred::ROOT, &ReadOp::Close { ino: dentry.ino });
                }
            }
            match dice.roll(40) {
                0 => client.check(),
                1 => {
                    client.flush();
                    let dir = client.dirs[dice.roll(2) as usize];
                    client.forget_directory(dir);
                    client.delegate(dir);
                }
                2..=6 => client.flush(),
                _ => {}
            }
        }
        client.check();
        prop_assert!(here > 0, "nothing was done here");
    }
}

#[test]
fn what_was_made_and_removed_before_the_shard_heard_of_it_leaves_nothing() {
    let mut client = Client::new(1);
    let dir = client.dirs[0];
    let made = client.mutate(&Cred::ROOT, make(dir, "x", NewNode::File, 0o600));
    let ino = entry(&made);
    client.mutate(&Cred::ROOT, MutateOp::Unlink { parent: dir, name: "x".into() });
    assert!(!client.mirror.knows(ino));
    assert_eq!(client.log.len(), 2);
    client.check();
    assert!(client.world.hosts[0].shard.attr(FS, ino).unwrap().is_none());
    assert!(client.world.hosts[0].shard.orphans(None, 9).unwrap().is_empty());
}

#[test]
fn a_log_sent_twice_is_done_once_and_one_of_somebody_else_s_numbers_not_at_all() {
    let mut client = Client::new(2);
    let dir = client.dirs[0];
    client.mutate(&Cred::ROOT, make(dir, "x", NewNode::File, 0o600));
    let ops = client.log.clone();
    let log = client.world.mutation(CLIENT, &Cred::ROOT, MutateOp::Logged { ops: ops.clone() });
    for _ in 0..2 {
        assert_eq!(client.world.send(SHARD, &log), MetaReply::Logged { failed: Vec::new(), over: Vec::new() });
    }
    // The same number once more, one that nobody was given, and one of another shard.
    let used = ops[0].ino.unwrap();
    for ino in [used, InodeId::new(SHARD, u64::from(u32::MAX)), InodeId::new(ShardId(3), 5)] {
        let op = make(dir, "y", NewNode::File, 0o600);
        let again = LoggedOp { ino: Some(ino), op, ..ops[0].clone() };
        let reply = client.world.ok(&Cred::ROOT, SHARD, MutateOp::Logged { ops: vec![again] });
        let MetaReply::Logged { failed, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(failed.len(), 1, "{ino}: {failed:?}");
    }
    // What is no part of a log is refused by itself.
    let op = MutateOp::Tmpfile { parent: dir, mode: 0o600.into(), linkable: true };
    let nameless = LoggedOp { ino: None, op, ..ops[0].clone() };
    let reply = client.world.ok(&Cred::ROOT, SHARD, MutateOp::Logged { ops: vec![nameless] });
    assert_eq!(reply, MetaReply::Logged { failed: vec![(0, MetaError::Posix(Errno::Invalid))], over: Vec::new() });
}

#[test]
fn a_file_that_is_open_is_for_the_shard_to_remove() {
    let mut client = Client::new(3);
    let dir = client.dirs[0];
    let open = MutateOp::Create {
        parent: dir,
        name: "x".into(),
        node: NewNode::File,
        mode: 0o600.into(),
        exclusive: true,
        open: true,
        content: None,
    };
    let made = client.mutate(&Cred::ROOT, open);
    assert!(client.mirror.is_open(entry(&made)));
    let unlink = MutateOp::Unlink { parent: dir, name: "x".into() };
    assert_eq!(client.mirror.run(client.world.now, None, &Cred::ROOT, &unlink), Run::Elsewhere);
    client.at_the_shard(&Cred::ROOT, unlink);
    assert!(client.world.hosts[0].shard.is_orphan(FS, entry(&made)).unwrap(), "it is open still");
}

#[test]
fn lists_of_a_delegated_directory_are_told_here_and_its_other_attributes_are_not() {
    let mut client = Client::new(5);
    let dir = client.dirs[0];
    let get = |name: &'static str| ReadOp::GetXattr { ino: dir, name: name.into() };
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        let none = MetaReply::Error(MetaError::Posix(Errno::NoData));
        assert_eq!(client.mirror.read(&Cred::ROOT, &get(name)), Some(none), "{name}");
    }
    assert_eq!(client.mirror.read(&Cred::ROOT, &get("user.x")), None);
}

#[test]
fn a_directory_of_very_many_names_is_not_delegated() {
    let mut client = Client::new(4);
    let dir = client.world.mkdir(&Cred::ROOT, InodeId::ROOT, "many", 0o755);
    for n in 0..=forebay_types::limits::NAMES_PER_DELEGATION {
        client.world.create(&Cred::ROOT, dir, &format!("f{n}"), 0o644);
    }
    assert_eq!(client.world.read(&Cred::ROOT, SHARD, &ReadOp::Delegate { dir }), Err(Errno::Again));
}
