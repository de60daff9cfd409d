//! Units: a storage daemon a drive directory, the stager, and the mount of compute nodes.

use crate::schema::SiteConfig;

/// One file below `/etc/systemd/system`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: String,
    /// Which hosts it is for.
    pub hosts: &'static str,
}

/// All units of a site; `site` is the path of `site.toml` on every host.
#[must_use]
pub fn systemd(config: &SiteConfig, site: &str) -> Vec<Unit> {
    vec![forebayd(config), stagerd(config, site), mount(config)]
}

fn forebayd(config: &SiteConfig) -> Unit {
    let bin = config.paths.bin.display();
    let content = format!(
        "\
[Unit]
Description=Forebay storage daemon %i
After=network-online.target
Wants=network-online.target

[Service]
# FOREBAYD_OPTIONS, see `forebayd --help`, one file an instance.
EnvironmentFile=-/etc/forebay/forebayd-%i.env
ExecStart={bin}/forebayd --dir /var/lib/forebay/%i $FOREBAYD_OPTIONS
Restart=always
RestartSec=1
# Drives and their index: never the victim of another process's appetite.
OOMScoreAdjust=-900
LimitNOFILE=1048576
LimitMEMLOCK=infinity
TimeoutStopSec=60
NoNewPrivileges=yes
ProtectHome=yes

[Install]
WantedBy=multi-user.target
"
    );
    Unit { name: "forebayd@.service".to_owned(), content, hosts: "storage hosts, one instance a storage directory" }
}

fn stagerd(config: &SiteConfig, site: &str) -> Unit {
    let bin = config.paths.bin.display();
    let variable = SiteConfig::PATH_VARIABLE;
    let content = format!(
        "\
[Unit]
Description=Forebay stager
After=network-online.target slurmctld.service
Wants=network-online.target

[Service]
Environment={variable}={site}
ExecStart={bin}/forebay-stagerd
Restart=always
RestartSec=1
StateDirectory=forebay
RuntimeDirectory=forebay
RuntimeDirectoryPreserve=yes
RuntimeDirectoryMode=0755
LimitNOFILE=65536
TimeoutStopSec=30

[Install]
WantedBy=multi-user.target
"
    );
    Unit { name: "forebay-stagerd.service".to_owned(), content, hosts: "the host of slurmctld" }
}

fn mount(config: &SiteConfig) -> Unit {
    let hosts: Vec<String> = config.storage.hosts.iter().map(ToString::to_string).collect();
    let content = format!(
        "\
[Unit]
Description=Forebay on this compute node
After=network-online.target
Wants=network-online.target
# The client daemon outlives jobs, and slurmd starts no job before it is there.
Before=slurmd.service

[Mount]
What={}/{}
Where={}
Type=forebay
Options=_netdev,key={},node_socket={}
TimeoutSec=60

[Install]
WantedBy=multi-user.target
",
        hosts.join(","),
        config.storage.filesystem,
        config.node.mount.display(),
        config.storage.key_file.display(),
        config.socket.node.display(),
    );
    let name = format!("{}.mount", escape_path(&config.node.mount.to_string_lossy()));
    Unit { name, content, hosts: "compute nodes" }
}

/// A path as the name of a unit: systemd insists that a mount's unit is called after its mount point.
fn escape_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let joined = parts.join("/");
    let mut out = String::new();
    for (at, byte) in joined.bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if at == 0 => out.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;
