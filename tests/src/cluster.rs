//! A Forebay storage cluster in a lab: one `forebayd` on each storage host, formed and used through the command line.
//!
//! The hosts are the lab's nodes `s1`, `s2`, ….
//! A node that uses the cluster is *equipped*: it gets the cluster's key and the folder for sockets. Everything else that a
//! site would do is done here the way a site does it: by `forebay` and `mount`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Context, LabError};
use crate::lab::Lab;
use crate::node::{Node, NodeCommand, User, own_program};
use crate::process::Daemon;
use crate::wait;

/// The program that `/sbin/mount.forebay` is a link to.
pub const CLIENT_PROGRAM: &str = "forebay-client";
/// Where the filesystem is mounted on every node.
pub const MOUNT: &str = "/mnt/forebay";
/// The cluster's key on every equipped node.
pub const KEY: &str = "/etc/forebay/cluster.key";
/// Port of every `forebayd`.
pub const PORT: u16 = 7000;
/// Folder of a `forebayd` on its host.
pub const DIR: &str = "/run/lab/disk/forebay";

const UP: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_secs(60);

/// What kind of cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Name of its filesystem.
    pub filesystem: String,
    /// The erasure code, as in `4+2`.
    pub code: String,
    /// Storage hosts that [`crate::Mounted`] starts.
    pub hosts: u32,
    /// Of the storage hosts, how many of the last ones the cluster is not formed of.
    pub spare: usize,
    /// Metadata shards.
    pub shards: u16,
    /// Size of each host's one drive, in MiB.
    pub drive_mib: u64,
    /// Filter of the daemons' logs.
    pub log: String,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings {
            filesystem: "demo".to_owned(),
            code: "4+2".to_owned(),
            hosts: 6,
            spare: 0,
            shards: 8,
            drive_mib: 2048,
            log: "info".to_owned(),
        }
    }
}

/// A running cluster. Dropping it does not end it: the lab's end does.
pub struct Cluster {
    settings: ClusterSettings,
    hosts: Vec<Node>,
    daemons: BTreeMap<String, Daemon>,
    key: String,
}

impl Cluster {
    /// Starts a daemon on each storage host of the lab, forms a cluster from them and makes its filesystem.
    pub fn start(lab: &Lab, settings: &ClusterSettings) -> Result<Self, LabError> {
        let cluster = Self::unformed(lab, settings)?;
        cluster.form()?;
        Ok(cluster)
    }

    /// Starts the daemons only.
    pub fn unformed(lab: &Lab, settings: &ClusterSettings) -> Result<Self, LabError> {
        let hosts: Vec<Node> = lab.names().iter().filter(|name| is_storage(name)).map(|name| lab.node(name)).collect();
        let first =
            hosts.first().ok_or_else(|| LabError::Lab("has no storage host: Builder::storage_hosts".to_owned()))?;
        let made = PathBuf::from(crate::paths::DISK).join("cluster.key");
        own_program(first, "forebay")?.args(["cluster", "keygen"]).arg(&made).run()?;
        let outside = first.disk().join("cluster.key");
        let key = std::fs::read_to_string(&outside).context(|| format!("read {}", outside.display()))?;
        let mut cluster = Cluster { settings: settings.clone(), hosts, daemons: BTreeMap::new(), key };
        for node in cluster.hosts.clone() {
            cluster.equip(&node)?;
            let (drive_mib, log) = (settings.drive_mib, settings.log.clone());
            let daemon = Daemon::start(&node, "forebayd", move |node| forebayd(node, drive_mib, &log))?;
            cluster.daemons.insert(node.name().to_owned(), daemon);
        }
        cluster.daemons.values().try_for_each(|daemon| daemon.wait_log("listening", UP))?;
        Ok(cluster)
    }

    /// Forms the cluster and makes its filesystem.
    pub fn form(&self) -> Result<(), LabError> {
        let settings = &self.settings;
        let create = own_program(&self.hosts[0], "forebay")?
            .args(["--key", KEY, "cluster", "create", "--name", "lab", "--ec", &settings.code, "--shards"])
            .arg(settings.shards.to_string());
        let addresses = self.addresses();
        create.args(&addresses[..addresses.len() - settings.spare]).deadline(ASK).run()?;
        self.forebay(&self.hosts[0])?.args(["fs", "create", &settings.filesystem]).deadline(ASK).run()?;
        Ok(())
    }

    /// Gives a node what it needs to use the cluster; once more after the node's power failed.
    pub fn equip(&self, node: &Node) -> Result<(), LabError> {
        let install = "mkdir -p /etc/forebay /run/forebay && install -m 600 /dev/stdin /etc/forebay/cluster.key";
        node.command("/bin/bash").args(["-euc", install]).input(self.key.clone()).run()?;
        Ok(())
    }

    /// The storage hosts, in order.
    pub fn hosts(&self) -> &[Node] {
        &self.hosts
    }

    /// Name of the filesystem.
    pub fn filesystem(&self) -> &str {
        &self.settings.filesystem
    }

    /// `ip:port` of each host, in order.
    pub fn addresses(&self) -> Vec<String> {
        self.hosts.iter().map(|node| format!("{}:{PORT}", node.address())).collect()
    }

    /// The `forebayd` of a host; panics on a name that is none of the cluster's, which is a mistake in the test.
    pub fn daemon(&mut self, host: &str) -> &mut Daemon {
        self.daemons.get_mut(host).unwrap_or_else(|| panic!("no storage host {host}"))
    }

    /// Kills the daemons of these hosts with SIGKILL.
    pub fn kill(&mut self, hosts: &[&str]) -> Result<(), LabError> {
        hosts.iter().try_for_each(|host| self.daemon(host).kill().map(|_| ()))
    }

    /// Kills the daemons of these hosts if they run, starts them again and waits until they listen.
    pub fn restart(&mut self, hosts: &[&str]) -> Result<(), LabError> {
        let listening = |daemon: &Daemon| daemon.log_text().matches("listening").count();
        for host in hosts {
            let daemon = self.daemon(host);
            let before = listening(daemon);
            daemon.restart()?;
            daemon.wait_ready(UP, || listening(daemon) > before)?;
        }
        Ok(())
    }

    /// `ip:port` of a host; panics on a name that is none of the cluster's.
    pub fn address_of(&self, host: &str) -> String {
        let place = self.hosts.iter().position(|node| node.name() == host);
        self.addresses().swap_remove(place.unwrap_or_else(|| panic!("no storage host {host}")))
    }

    /// Names of all hosts.
    pub fn names(&self) -> Vec<String> {
        self.hosts.iter().map(|node| node.name().to_owned()).collect()
    }

    /// `forebay` on an equipped node, told where the cluster is.
    pub fn forebay(&self, node: &Node) -> Result<NodeCommand, LabError> {
        Ok(own_program(node, "forebay")?.args(["--hosts", &self.addresses().join(","), "--key", KEY]).deadline(ASK))
    }

    /// What `forebay --json args…` on the first host answers.
    pub fn ask(&self, args: &[&str]) -> Result<Value, LabError> {
        let said = self.forebay(&self.hosts[0])?.arg("--json").args(args).run()?;
        serde_json::from_str(&said).context(|| format!("parse what `forebay {}` answered: {said}", args.join(" ")))
    }

    /// `mount -t forebay` on a node, with more options in the form `,key=value`.
    pub fn mount_command(&self, node: &Node, options: &str) -> NodeCommand {
        let source = format!("{}/{}", self.addresses().join(","), self.settings.filesystem);
        let log = format!("{}/{}-forebay-client.log", crate::paths::LOG, node.name());
        let script =
            format!("mkdir -p {MOUNT} && exec mount -t forebay {source} {MOUNT} -o key={KEY},log={log}{options}");
        node.command("/bin/bash").args(["-euc", &script]).deadline(ASK)
    }

    /// Equips a node and mounts the filesystem on it.
    pub fn mount(&self, node: &Node) -> Result<(), LabError> {
        self.equip(node)?;
        self.mount_command(node, "").run()?;
        Ok(())
    }

    /// Mounts the filesystem once more on a node that has it, as another client would; where that is.
    pub fn mount_again(&self, node: &Node) -> Result<String, LabError> {
        let second = format!("{MOUNT}-again");
        let source = format!("{}/{}", self.addresses().join(","), self.settings.filesystem);
        let log = format!("{}/{}-forebay-client-again.log", crate::paths::LOG, node.name());
        let options = format!("key={KEY},log={log},node_socket=none,name={}-again", node.name());
        let script = format!("mkdir -p {second} && exec mount -t forebay {source} {second} -o {options}");
        node.command("/bin/bash").args(["-euc", &script]).deadline(ASK).run()?;
        Ok(second)
    }

    /// Unmounts it, which writes back everything.
    pub fn unmount(&self, node: &Node) -> Result<(), LabError> {
        node.command("umount").arg(MOUNT).deadline(ASK).run()?;
        Ok(())
    }

    /// Waits until the cluster says that exactly these hosts are down.
    pub fn wait_down(&self, down: &[&str], deadline: Duration) -> Result<(), LabError> {
        wait::until(&format!("the hosts that are down are {down:?}"), deadline, || {
            let seen = self.down()?;
            Ok(if seen == down { wait::Seen::Yes(()) } else { wait::Seen::NotYet(format!("{seen:?}")) })
        })
    }

    /// Names of the hosts that the cluster says are down, in order.
    pub fn down(&self) -> Result<Vec<String>, LabError> {
        let status = self.ask(&["status"])?;
        let hosts = status["hosts"].as_array().cloned().unwrap_or_default();
        let is_down = |host: &&Value| host["up"].as_bool() == Some(false);
        let names = hosts.iter().filter(is_down).filter_map(|host| host["name"].as_str());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// A drive file of a host, as this machine sees it.
    pub fn drive(&self, host: &str) -> PathBuf {
        let node =
            self.hosts.iter().find(|node| node.name() == host).unwrap_or_else(|| panic!("no storage host {host}"));
        node.disk().join("drive0")
    }

    /// Runs a shell script on a mounted node as alice, in a folder of hers on the mount.
    pub fn as_alice(&self, node: &Node, script: &str) -> Result<String, LabError> {
        let mine = format!("{MOUNT}/alice");
        node.shell(&User::root(), &format!("test -d {mine} || install -d -o alice -g alice {mine}"))?;
        node.command("/bin/bash")
            .args(["-euo", "pipefail", "-c", script])
            .user(&User::alice())
            .current_dir(mine)
            .deadline(LONG)
            .run()
    }
}

/// Deadline of a script on a mount.
const LONG: Duration = Duration::from_secs(300);

fn forebayd(node: &Node, drive_mib: u64, log: &str) -> Result<NodeCommand, LabError> {
    Ok(own_program(node, "forebayd")?
        .args(["--dir", DIR, "--name", node.name(), "--key", KEY])
        .args(["--listen", &format!("{}:{PORT}", node.address())])
        .args(["--drive", &format!("{}/drive0:{drive_mib}MiB", crate::paths::DISK)])
        .env("FOREBAY_LOG", log))
}

fn is_storage(name: &str) -> bool {
    name.strip_prefix('s').is_some_and(|number| number.parse::<u32>().is_ok())
}
