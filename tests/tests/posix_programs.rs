//! Programs that people use, on a mount.

use forebay_tests::{ClusterSettings, Mounted, User};

fn start(clients: u32) -> Mounted {
    Mounted::start(clients, &ClusterSettings { drive_mib: 1024, ..ClusterSettings::default() })
        .expect("a cluster, mounted")
}

#[test]
fn repositories_and_archives_come_through_whole() {
    let at = start(2);
    let seed = "export GIT_CONFIG_GLOBAL=/tmp/gitconfig; git config --global user.email a@b; git config --global user.name a
        rm -rf /tmp/src && git init -q /tmp/src && cd /tmp/src
        for i in $(seq 60); do mkdir -p d$((i % 7)); head -c $((i * 997)) /dev/urandom >d$((i % 7))/f$i; ln -s f$i d$((i % 7))/l$i; done
        chmod +x d1/f1; git add -A; git commit -qm one; echo more >>d2/f2; git commit -qam two; git tag t";
    at.run(0, seed).unwrap();
    let clone = "export GIT_CONFIG_GLOBAL=/tmp/gitconfig
        git clone -q /tmp/src repo; cd repo; git fsck --strict 2>&1; test -z \"$(git status --porcelain)\"
        diff <(git ls-tree -r HEAD) <(git -C /tmp/src ls-tree -r HEAD); diff -r --exclude=.git . /tmp/src
        git mv d3 d3moved; echo x >new; git add -A; git commit -qm three; git gc -q; git fsck --strict 2>&1; git log --oneline | wc -l";
    assert_eq!(at.run(0, clone).unwrap().lines().last(), Some("3"));
    let archive = "tar -C /tmp/src -cf a.tar .; mkdir out; tar -C out -xf a.tar; tar -C out -df a.tar; diff -r --no-dereference out /tmp/src
        find out ! -type d -printf '%P %m %s %T@ %l\\n' | sort >/tmp/got; (cd /tmp/src; find . ! -type d -printf '%P %m %s %T@ %l\\n' | sort) >/tmp/want
        diff <(cut -d. -f1 /tmp/got) <(cut -d. -f1 /tmp/want); sha256sum a.tar | cut -d' ' -f1";
    let sum = at.run(0, archive).unwrap();
    // The other node sees the same repository and the same archive.
    let other = "cd repo; git -c safe.directory='*' fsck --strict 2>&1; git -c safe.directory='*' status --porcelain | wc -l; sha256sum ../a.tar | cut -d' ' -f1";
    let seen = at.run(1, other).unwrap();
    assert!(seen.ends_with(&sum) && seen.contains("0\n"), "{seen}");
}

const SQL: &str = "
create table t(k integer primary key, v blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) insert into t select i, randomblob(300) from n;
begin; update t set v = randomblob(200) where k % 3 = 0; delete from t where k % 7 = 0; commit;
begin; delete from t; rollback;
vacuum; select count(*) from t; pragma integrity_check;";

const PYTHON: &str = r#"
import errno, fcntl, mmap, os, shutil, stat, sys, tempfile, threading, time
os.makedirs("py/deep/er"); os.chdir("py")
def refused(code, call, *args, **kw):
    try: call(*args, **kw)
    except OSError as e: assert e.errno == code, (call, args, e)
    else: raise AssertionError((call, args, "was not refused"))
with open("f", "wb+") as f:
    f.write(b"x" * 100000); f.flush(); os.fsync(f.fileno())
    with mmap.mmap(f.fileno(), 0) as m:
        m[4090:4100] = b"0123456789"; m.flush()
    f.seek(4090); assert f.read(10) == b"0123456789"
    f.truncate(50000); assert os.fstat(f.fileno()).st_size == 50000
    os.ftruncate(f.fileno(), 200000); f.seek(150000); assert f.read(10) == bytes(10)
fd = os.open("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o640)
os.write(fd, b"one"); os.lseek(fd, 0, 0); os.write(fd, b"two"); os.close(fd)
assert open("a").read() == "onetwo" and stat.S_IMODE(os.stat("a").st_mode) == 0o640
os.rename("a", "b"); os.link("b", "c"); assert os.stat("c").st_nlink == 2
os.symlink("b", "s"); assert os.readlink("s") == "b"
f = open("b"); os.unlink("b"); os.unlink("c"); assert f.read() == "onetwo" and os.fstat(f.fileno()).st_nlink == 0; f.close()
os.utime("f", ns=(1, 1700000000123456789)); assert os.stat("f").st_mtime_ns == 1700000000123456789
os.setxattr("f", "user.colour", b"blue"); assert os.listxattr("f") == ["user.colour"] and os.getxattr("f", "user.colour") == b"blue"
os.removexattr("f", "user.colour"); refused(errno.ENODATA, os.getxattr, "f", "user.colour")
refused(errno.EEXIST, os.mkdir, "deep"); refused(errno.ENOTEMPTY, os.rmdir, "deep"); refused(errno.ENOENT, os.stat, "none")
refused(errno.ENOTDIR, os.stat, "f/x"); refused(errno.EISDIR, os.open, "deep", os.O_WRONLY); refused(errno.EINVAL, os.rename, "deep", "deep/er/x")
refused(errno.ENAMETOOLONG, open, "n" * 256, "w"); refused(errno.EPERM, os.chown, "f", 0, 0); refused(errno.ENOTDIR, os.rmdir, "f")
os.symlink("loop", "loop"); refused(errno.ELOOP, open, "loop")
os.chmod("f", 0o000); refused(errno.EACCES, open, "f"); os.chmod("f", 0o644)
for i in range(500): open("deep/%d" % i, "w").write(str(i))
assert sorted(os.listdir("deep")) == sorted([str(i) for i in range(500)] + ["er"])
def work(n):
    for i in range(40):
        p = "deep/t%d-%d" % (n, i); open(p, "w").write(p * 50); assert open(p).read() == p * 50; os.rename(p, p + "x"); os.unlink(p + "x")
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(os.listdir("deep")) == 501
v = os.statvfs("."); assert v.f_blocks > 0 and v.f_bavail <= v.f_bfree <= v.f_blocks and v.f_namemax == 255
with open("l", "w") as f: fcntl.lockf(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_UN)
shutil.rmtree("deep"); assert not os.path.exists("deep")
with tempfile.TemporaryFile(dir=".") as f: f.write(b"gone"); f.seek(0); assert f.read() == b"gone"
print("all well")
"#;

#[test]
fn databases_and_scripts_behave_as_on_a_local_filesystem() {
    let at = start(1);
    for mode in ["delete", "wal"] {
        let script =
            format!("echo '{}' | sqlite3 -bail {mode}.db 'pragma journal_mode={mode}' '.read /dev/stdin'", SQL.trim());
        let said = at.run(0, &script).unwrap();
        assert!(said.starts_with(mode) && said.ends_with("2572\nok\n"), "{mode}: {said}");
    }
    // Two writers at once: SQLite's locks keep them apart.
    let both = "for w in 1 2; do (for i in $(seq 15); do sqlite3 -cmd '.timeout 20000' delete.db \"insert into t(v) values('w$w-$i')\"; done) & done; wait
        sqlite3 delete.db \"select count(*) from t where v like 'w%'; pragma integrity_check\"";
    assert_eq!(at.run(0, both).unwrap(), "30\nok\n");
    let said = at
        .client(0)
        .command("python3")
        .arg("-")
        .input(PYTHON)
        .user(&User::alice())
        .current_dir("/mnt/forebay/alice")
        .run();
    assert_eq!(said.unwrap(), "all well\n");
    at.remount(0).unwrap();
    assert_eq!(at.run(0, "sqlite3 wal.db 'select count(*) from t; pragma integrity_check'").unwrap(), "2572\nok\n");
}

#[test]
fn fio_reads_back_what_it_wrote() {
    let at = start(1);
    for (name, options) in [
        ("seq", "--rw=write --bs=1M --size=48M"),
        ("rand", "--rw=randwrite --bs=4k-64k --size=16M --fsync=64"),
        ("direct", "--rw=randwrite --bs=8k --size=8M --direct=1"),
        ("mmap", "--rw=randwrite --bs=4k --size=8M --ioengine=mmap"),
        ("jobs", "--rw=randwrite --bs=16k --size=6M --numjobs=3"),
    ] {
        let engine = if options.contains("ioengine") { "" } else { "--ioengine=psync" };
        let line = format!(
            "fio --name={name} {engine} {options} --directory=. --verify=crc32c --do_verify=1 --verify_fatal=1 --output=/tmp/{name}.txt || {{ cat /tmp/{name}.txt; exit 1; }}"
        );
        at.run(0, &line).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    at.remount(0).unwrap();
    at.run(0, "fio --name=seq --ioengine=psync --rw=read --bs=1M --size=48M --directory=. --verify=crc32c --verify_fatal=1 --output=/tmp/again.txt || { cat /tmp/again.txt; exit 1; }")
        .unwrap();
}

#[test]
fn an_archive_of_a_thousand_files_goes_in_and_out_unchanged() {
    let at = start(2);
    let sums = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum";
    let pack = format!(
        "tar -C /usr/lib/python3.11 -cf /tmp/in.tar .; mkdir tree; tar -C tree -xpf /tmp/in.tar; cd tree; {sums}; find . | wc -l"
    );
    let got = at.run(0, &pack).unwrap();
    assert_eq!(got, at.run(0, &format!("cd /usr/lib/python3.11; {sums}; find . | wc -l")).unwrap());
    let other = format!(
        "tar -C tree -cf /tmp/out.tar .; mkdir /tmp/out; cd /tmp/out; tar -xf /tmp/out.tar; {sums}; find . | wc -l"
    );
    assert_eq!(at.run(1, &other).unwrap(), got);
    let gone = "rm -rf tree; ls -A | wc -l";
    assert_eq!(at.run(1, gone).unwrap(), "0\n");
}

const PROJECT: &str = r#"
mkdir -p project/src && cd project
for i in $(seq 40); do
    printf '#include "all.h"\nint part%d(int n) { return n + PLUS + %d; }\n' $i $i >src/part$i.c
    echo "int part$i(int);" >>src/all.h
done
echo '#define PLUS 1' >>src/all.h
{ echo '#include <stdio.h>'; echo '#include "all.h"'; echo 'int main(void) { int n = 0;'
  for i in $(seq 40); do echo "n = part$i(n);"; done; echo 'printf("%d\n", n); return 0; }'; } >src/main.c
printf 'OBJ := $(patsubst src/%%.c,obj/%%.o,$(wildcard src/*.c))\nprogram: $(OBJ)\n\t$(CC) -o $@ $^\nobj/%%.o: src/%%.c src/all.h | obj\n\t$(CC) -O1 -c -o $@ $<\nobj:\n\tmkdir $@\n' >Makefile
make -s -j2; ./program; make -j2 | tail -1; touch src/part7.c; make -j2 | grep -c -- -c
sed -i 's/PLUS 1/PLUS 2/' src/all.h; make -s -j2; ./program
"#;

#[test]
fn a_project_is_built_and_only_what_changed_is_built_again() {
    let at = start(1);
    assert_eq!(at.run(0, PROJECT).unwrap(), "860\nmake: 'program' is up to date.\n1\n900\n");
    let venv = "python3 -m venv --without-pip v; v/bin/python -c 'import json, sqlite3, sys; print(sys.prefix != sys.base_prefix)'";
    assert_eq!(at.run(0, venv).unwrap(), "True\n");
}

const POSTGRES: &str = r#"
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | tail -1)")
"$bin/initdb" -D pg -k -A trust >/dev/null
start() { "$bin/pg_ctl" -D pg -w -t 60 -l /tmp/pg.log -o "-c listen_addresses= -c unix_socket_directories=/tmp -c fsync=on" start >/dev/null || { cat /tmp/pg.log; exit 1; }; }
ask() { "$bin/psql" -h /tmp -d postgres -Atc "$1"; }
start
"$bin/pgbench" -h /tmp -q -i -s 1 postgres 2>/dev/null
"$bin/pgbench" -h /tmp -c 2 -j 2 -t 60 postgres >/dev/null 2>&1
ask 'select count(*) from pgbench_accounts; select count(*) from pgbench_history'
# Killed, it has to find everything acknowledged in its log.
kill -9 $(head -1 pg/postmaster.pid); while pgrep -u alice postgres >/dev/null; do sleep 0.1; done
start
ask 'select count(*) from pgbench_history; select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)'
"$bin/pg_ctl" -D pg -w -m fast stop >/dev/null
"$bin/pg_checksums" -D pg --check | grep 'Bad checksums'
"#;

#[test]
fn a_database_server_keeps_what_it_acknowledged() {
    let at = start(1);
    assert_eq!(at.run(0, POSTGRES).unwrap(), "100000\n120\n120\nt\nBad checksums:  0\n");
}

#[test]
fn two_processes_share_a_write_ahead_log() {
    let at = start(1);
    let script = "sqlite3 w.db 'pragma journal_mode=wal; create table t(k integer primary key, w text)'
        for w in 1 2; do (for i in $(seq 25); do sqlite3 -cmd '.timeout 30000' w.db \"insert into t(w) values('w$w')\"; done) & done; wait
        sqlite3 w.db 'select count(*), count(distinct w) from t; pragma integrity_check'";
    assert_eq!(at.run(0, script).unwrap(), "wal\n50|2\nok\n");
}

const WRITERS: &str = r#"
import os, sys
rank, ranks, rounds, block = int(sys.argv[1]), 4, 24, 37_111
fd = os.open("shared", os.O_CREAT | os.O_RDWR, 0o644)
for n in range(rounds):
    at = (n * ranks + rank) * block
    assert os.pwrite(fd, bytes([(rank * 50 + n) % 251]) * block, at) == block
os.fsync(fd); os.close(fd)
"#;
const READER: &str = r#"
ranks, rounds, block = 4, 24, 37_111
data = open("shared", "rb").read()
assert len(data) == ranks * rounds * block, len(data)
for n in range(rounds):
    for rank in range(ranks):
        at = (n * ranks + rank) * block
        assert data[at:at + block] == bytes([(rank * 50 + n) % 251]) * block, (n, rank)
print("whole")
"#;

#[test]
fn many_writers_on_two_nodes_fill_one_file() {
    let at = start(2);
    at.run(0, "touch shared").unwrap();
    std::thread::scope(|scope| {
        for node in 0..2 {
            let at = &at;
            scope.spawn(move || {
                let both = format!("for r in {} {}; do python3 -c '{WRITERS}' $r & done; wait", node * 2, node * 2 + 1);
                at.run(node, &both).unwrap();
            });
        }
    });
    for node in 0..2 {
        assert_eq!(at.run(node, &format!("python3 -c '{READER}'")).unwrap(), "whole\n");
    }
}

#[test]
fn rsync_copies_links_lists_and_attributes() {
    let at = start(1);
    let script = "rm -rf /tmp/from; mkdir -p /tmp/from/deep; cd /tmp/from
        for i in $(seq 50); do head -c $((i * 311)) /dev/urandom >deep/f$i; done; ln deep/f1 deep/h1; ln deep/f1 h2; ln -s deep/f2 l; mkfifo p
        setfattr -n user.colour -v blue deep/f3; setfacl -m u:bob:rwx,g:bob:r deep/f4; setfacl -d -m u:bob:rwx deep; chmod 4711 deep/f5; touch -d '1969-12-31 23:59:58.25 UTC' deep/f6
        cd - >/dev/null; rsync -aHAX /tmp/from/ to/; rsync -aHAXni --delete --checksum /tmp/from/ to/ | wc -l
        stat -c %h to/h2; getfacl -cE to/deep/f4 | head -3 | tail -2; getfattr --only-values -n user.colour to/deep/f3; echo; stat -c '%a %Y' to/deep/f5 to/deep/f6 | cut -c1-7
        rsync -aHAX to/ /tmp/back/; rsync -aHAXni --delete --checksum /tmp/from/ /tmp/back/ | wc -l";
    let said = at.run(0, script).unwrap();
    assert_eq!(said.lines().next(), Some("0"), "{said}");
    assert_eq!(said.lines().last(), Some("0"), "{said}");
    assert!(said.contains("user:bob:rwx") && said.contains("blue") && said.contains("\n3\n"), "{said}");
}
