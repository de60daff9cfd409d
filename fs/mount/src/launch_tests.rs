use super::*;

#[test]
fn control_groups_left_and_kept() {
    let root = |line| cgroup_root(line).map(|path| path.display().to_string());
    assert_eq!(root("0::/user.slice/session-3.scope").as_deref(), Some("/sys/fs/cgroup/"));
    assert_eq!(root("4:memory:/slurm/uid_1/job_2").as_deref(), Some("/sys/fs/cgroup/memory"));
    assert_eq!(root("1:name=systemd:/user.slice").as_deref(), Some("/sys/fs/cgroup/systemd"));
    assert_eq!(root("0::/system.slice/slurmstepd.scope/job_2").as_deref(), Some("/sys/fs/cgroup/"));
    assert_eq!(root("0::/"), None);
    assert_eq!(root("0::/system.slice/forebay-client.service"), None);
    assert_eq!(root("0::/system.slice/mnt-forebay.mount"), None);
    assert_eq!(root(""), None);
}

#[test]
fn a_daemon_that_says_nothing_is_heard_as_nothing() {
    let mut says = Command::new("/bin/echo").arg("mounted").stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(wait_report(&mut says, Duration::from_secs(10)).unwrap().as_deref(), Some(READY));
    says.wait().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let mut waits = Command::new("/bin/cat").stdin(reader).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(wait_report(&mut waits, Duration::from_millis(50)).unwrap(), None);
    drop(writer);
    waits.wait().unwrap();
}
