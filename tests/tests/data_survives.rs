//! Bytes outlive dead hosts, damaged drives and full ones.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use forebay_tests::demo::dataset::Numbers;
use forebay_tests::{ClusterSettings, Daemon, Mounted, Node, User, wait};

const SOON: Duration = Duration::from_secs(90);
/// Hosts without a metadata shard.
const DATA_HOSTS: [&str; 2] = ["s5", "s6"];

/// Runs `script` as alice in her folder of the mount, in the background.
fn in_background(at: &Mounted, place: usize, name: &str, script: &str) -> Daemon {
    at.run(place, "true").unwrap();
    let script = format!("cd /mnt/forebay/alice && {{ {script}\n}}");
    let recipe =
        move |node: &Node| Ok(node.command("/bin/bash").args(["-euo", "pipefail", "-c", &script]).user(&User::alice()));
    Daemon::start(at.client(place), name, recipe).unwrap()
}

fn assert_ends_well(daemon: &Daemon) {
    let ended = wait::until("it has ended", SOON, || {
        Ok(if daemon.runs()? { wait::Seen::NotYet(daemon.log_end()) } else { wait::Seen::Yes(()) })
    });
    ended.unwrap();
    assert!(daemon.log_text().ends_with("all well\n"), "{}", daemon.log_text());
}

#[test]
fn two_data_hosts_die_while_files_are_written_and_while_they_are_read() {
    let mut at = Mounted::start(2, &ClusterSettings::default()).unwrap();
    let shared = at.lab.shared();
    // Files grow while the hosts die; each is flushed, so none may be lost or wrong afterwards.
    let write = "i=0
        until [ -e /run/lab/shared/killed ] && [ -e /run/lab/shared/more ]; do
            i=$((i + 1)); [ -e /run/lab/shared/killed ] && touch /run/lab/shared/more
            head -c $((1000000 + i * 70001)) /dev/urandom >f$i; sync f$i
            [ $i -lt 3 ] || touch /run/lab/shared/writing
        done
        sha256sum f* >/run/lab/shared/sums; wc -l </run/lab/shared/sums; echo all well";
    let writer = in_background(&at, 0, "writer", write);
    writer.wait_ready(SOON, || shared.join("writing").exists()).unwrap();
    at.cluster.kill(&DATA_HOSTS).unwrap();
    std::fs::write(shared.join("killed"), "").unwrap();
    assert_ends_well(&writer);
    let check = "sha256sum -c --quiet /run/lab/shared/sums";
    at.run(1, check).unwrap();
    at.cluster.restart(&DATA_HOSTS).unwrap();
    at.cluster.wait_down(&[], SOON).unwrap();
    // With nothing cached every byte comes from drives: first from all hosts, then from four of six.
    at.remount(1).unwrap();
    let read = "n=0
        while read -r line; do
            echo \"$line\" | sha256sum -c --quiet -; n=$((n + 1))
            if [ $n = 2 ]; then touch /run/lab/shared/reading; until [ -e /run/lab/shared/killed-again ]; do sleep 0.05; done; fi
        done </run/lab/shared/sums
        [ $n -ge 4 ]; echo all well";
    let reader = in_background(&at, 1, "reader", read);
    reader.wait_ready(SOON, || shared.join("reading").exists()).unwrap();
    at.cluster.kill(&DATA_HOSTS).unwrap();
    std::fs::write(shared.join("killed-again"), "").unwrap();
    assert_ends_well(&reader);
    at.remount(1).unwrap();
    at.run(1, check).unwrap();
    at.cluster.wait_down(&DATA_HOSTS, SOON).unwrap();
    let said = at.cluster.forebay(at.client(0)).unwrap().arg("status").run().unwrap();
    assert!(said.contains("DOWN") && said.contains("s5, s6"), "{said}");
}

/// Writes files of all sizes, makes them durable and keeps them open, so that no close has made them durable as well.
const SYNC_AND_HOLD: &str = r#"python3 - <<'END'
import hashlib, os, time
sums, held = [], []
for n, size in enumerate((100, 20_000, 3_000_000)):
    for sync in (os.fsync, os.fdatasync):
        name, data = f"{n}-{sync.__name__}", os.urandom(size)
        fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        held.append(fd)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
        sync(fd)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
with open("/run/lab/shared/sums", "w") as f:
    f.writelines(sums)
open("/run/lab/shared/synced", "w").close()
while True:
    time.sleep(1)
END"#;

#[test]
fn what_was_synced_is_there_when_its_client_is_killed_with_the_files_open() {
    let at = Mounted::start(2, &ClusterSettings::default()).unwrap();
    let holder = in_background(&at, 0, "holder", SYNC_AND_HOLD);
    holder.wait_ready(SOON, || at.lab.shared().join("synced").exists()).unwrap();
    at.client(0).shell(&User::root(), "pkill -9 -x forebay-client").unwrap();
    at.run(1, "ls | wc -l | grep -qx 6 && sha256sum -c --quiet /run/lab/shared/sums").unwrap();
}

/// Flips one bit of each drive block that holds a piece of `contents`; the result is how many.
fn flip_bits(drive: &Path, contents: &[u8], at_most: usize) -> usize {
    const PIECE: usize = 64 << 10;
    let word = |at: &[u8]| u64::from_le_bytes(at[..8].try_into().unwrap());
    // A word from the middle of every block of the file: a drive holds it wherever the layout has put it.
    let wanted: HashSet<u64> = contents.chunks_exact(4096).map(|block| word(&block[2000..])).collect();
    let file = File::options().read(true).write(true).open(drive).unwrap();
    let (size, mut flipped) = (file.metadata().unwrap().len(), 0);
    let mut piece = vec![0; PIECE + 7];
    for offset in (0..size).step_by(PIECE) {
        let length = file.read_at(&mut piece, offset).unwrap();
        if piece[..length].iter().all(|&byte| byte == 0) {
            continue;
        }
        let found = (0..length.saturating_sub(7)).find(|&at| wanted.contains(&word(&piece[at..])));
        if let Some(place) = found.filter(|_| flipped < at_most) {
            file.write_all_at(&[piece[place] ^ 0x10], offset + place as u64).unwrap();
            flipped += 1;
        }
    }
    file.sync_all().unwrap();
    flipped
}

#[test]
fn a_flipped_bit_is_detected_served_from_parity_and_reported() {
    let at = Mounted::start(2, &ClusterSettings { drive_mib: 1024, ..ClusterSettings::default() }).unwrap();
    let mut contents = Vec::new();
    let mut numbers = Numbers(11);
    while contents.len() < 8 << 20 {
        contents.extend_from_slice(&numbers.draw().to_le_bytes());
    }
    std::fs::write(at.path(0, "precious").unwrap(), &contents).unwrap();
    at.cluster.unmount(at.client(0)).unwrap();
    let flipped: usize = DATA_HOSTS.iter().map(|host| flip_bits(&at.cluster.drive(host), &contents, 3)).sum();
    assert!(
        flipped > 0,
        "no drive of {DATA_HOSTS:?} holds a block of the file in plain: the test has to look elsewhere"
    );
    assert_eq!(at.corrupt_chunks().unwrap(), 0);
    at.lab.expect_logged(&[
        "chunk is corrupt; readers rebuild it from the others",
        "a chunk is damaged",
        "served from the other chunks of the stripe",
    ]);
    // Compared as bytes, not with assert_eq: 8 MiB of numbers help nobody.
    assert!(std::fs::read(at.path(1, "precious").unwrap()).unwrap() == contents, "wrong bytes were served");
    at.wait_status("the damage is reported", |status| {
        let drives = status["drives"].as_array().cloned().unwrap_or_default();
        drives.iter().any(|drive| drive["corrupt_chunks"].as_u64() > Some(0))
    })
    .unwrap();
    let said = at.cluster.forebay(at.client(0)).unwrap().arg("status").run().unwrap();
    assert!(said.contains("CORRUPT"), "{said}");
}

#[test]
fn a_truncated_drive_is_named_with_its_remedy_and_loses_no_byte() {
    let mut at = Mounted::start(1, &ClusterSettings { drive_mib: 1024, ..ClusterSettings::default() }).unwrap();
    at.run(0, "head -c 20000000 /dev/urandom >big; mkdir d; for i in $(seq 50); do echo $i >d/$i; done; sync").unwrap();
    at.run(0, "find . -type f | xargs sha256sum >/run/lab/shared/sums").unwrap();
    at.lab.expect_logged(&["drive cannot be used; its chunks are served from parity"]);
    at.cluster.kill(&["s6"]).unwrap();
    let drive = at.cluster.drive("s6");
    File::options().write(true).open(&drive).unwrap().set_len(300 << 20).unwrap();
    let daemon = at.cluster.daemon("s6");
    daemon.restart().unwrap();
    // It may refuse to start or serve without that drive; either way it says what is wrong and what to do.
    daemon
        .wait_ready(SOON, || daemon.log_text().contains("drive0") && daemon.log_text().contains("truncated"))
        .or_else(|error| if error.to_string().contains("truncated") { Ok(()) } else { Err(error) })
        .unwrap();
    let said = daemon.log_text();
    assert!(said.contains("drive0") && said.contains("parity"), "{said}");
    at.remount(0).unwrap();
    at.run(0, "sha256sum -c --quiet /run/lab/shared/sums; echo more >more; sync more; cat more").unwrap();
}

#[test]
fn a_full_filesystem_says_so_and_takes_writes_again_after_a_delete() {
    let at = Mounted::start(1, &ClusterSettings { drive_mib: 96, ..ClusterSettings::default() }).unwrap();
    at.run(0, "echo precious >precious; sync precious; head -c 3000000 /dev/urandom >kept; sync kept; sha256sum precious kept >/run/lab/shared/sums").unwrap();
    at.lab.expect_logged(&["write-back failed, will be tried again"]);
    let fill = "n=0; while [ $n -lt 80 ]; do n=$((n + 1))
        head -c 20000000 /dev/urandom 2>/dev/null | dd of=fill$n bs=1M conv=fsync iflag=fullblock 2>/tmp/said || { cat /tmp/said; exit 0; }
        done; echo never full; df .";
    let said = at.run(0, fill).unwrap();
    assert!(said.contains("No space left on device"), "{said}");
    at.run(0, "sha256sum -c --quiet /run/lab/shared/sums; ls >/dev/null; rm fill*").unwrap();
    // Space comes back when the drives have erased what was deleted.
    wait::until("there is room again", SOON, || {
        let again =
            at.run(0, "head -c 20000000 /dev/zero | dd of=again bs=1M conv=fsync iflag=fullblock 2>&1 || rm -f again")?;
        Ok(if again.contains("No space") { wait::Seen::NotYet(again) } else { wait::Seen::Yes(()) })
    })
    .unwrap();
    at.remount(0).unwrap();
    at.run(0, "sha256sum -c --quiet /run/lab/shared/sums; cmp again <(head -c 20000000 /dev/zero)").unwrap();
}
