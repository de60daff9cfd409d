//! The demo's cold tier: a folder that every storage host sees, or a real S3 server over one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::{Context, LabError};
use crate::lab::Lab;
use crate::node::own_program;
use crate::paths;
use crate::process::Daemon;
use crate::site::cold_folder;

/// The node that carries the S3 server.
pub const NODE: &str = "cold";
const BUCKET: &str = "cold";
const PORT: u16 = 9000;
const ACCESS_KEY: &str = "demo-access";
const UP: Duration = Duration::from_secs(30);

/// A cold tier with nothing in it but a folder for results.
pub struct ColdTier {
    /// Its root as directives name it.
    pub url: String,
    /// Where its objects lie on this machine.
    pub objects: PathBuf,
    /// `directory` or `s3`.
    pub kind: &'static str,
    server: Option<Daemon>,
    secret: String,
}

impl ColdTier {
    /// Starts it. An S3 server runs on the lab's node [`NODE`].
    pub fn start(lab: &Lab, s3: bool) -> Result<Self, LabError> {
        let (url, objects, kind) = if s3 {
            (format!("s3://{BUCKET}"), cold_folder(&lab.cold(), BUCKET)?, "s3")
        } else {
            (format!("file://{}", paths::COLD), lab.cold(), "directory")
        };
        cold_folder(&objects, "results")?;
        let secret = draw_secret()?;
        let server = if s3 { Some(start_server(lab, secret.clone())?) } else { None };
        Ok(ColdTier { url, objects, kind, server, secret })
    }

    /// Attaches it to the cluster's filesystem.
    pub fn attach(&self, cluster: &Cluster) -> Result<String, LabError> {
        let host = &cluster.hosts()[0];
        let attach = cluster.forebay(host)?.args(["fs", "tier", "attach", cluster.filesystem(), "cold", &self.url]);
        let Some(server) = &self.server else { return attach.run() };
        let secret = format!("access_key={ACCESS_KEY}\nsecret_key={}\n", self.secret);
        let install = "install -m 600 /dev/stdin /etc/forebay/cold.credentials";
        host.command("/bin/bash").args(["-euc", install]).input(secret).run()?;
        let endpoint = format!("http://{}:{PORT}", server.node().address());
        attach
            .args(["--endpoint", &endpoint, "--region", "us-east-1", "--credentials", "/etc/forebay/cold.credentials"])
            .run()
    }

    /// The S3 server, where there is one.
    pub fn server(&mut self) -> Option<&mut Daemon> {
        self.server.as_mut()
    }

    /// A new folder of it, as this machine sees it.
    pub fn folder(&self, name: &str) -> Result<PathBuf, LabError> {
        let path = self.objects.join(name);
        fs::create_dir_all(&path).context(|| format!("make {}", path.display()))?;
        Ok(path)
    }
}

/// A secret of this lab's own.
fn draw_secret() -> Result<String, LabError> {
    let mut bytes = [0; 20];
    let mut source = fs::File::open("/dev/urandom").context(|| "open /dev/urandom".to_owned())?;
    std::io::Read::read_exact(&mut source, &mut bytes).context(|| "read /dev/urandom".to_owned())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn start_server(lab: &Lab, secret: String) -> Result<Daemon, LabError> {
    let node = lab.node(NODE);
    let daemon = Daemon::start(&node, "forebay-s3-server", move |node| {
        let listen = format!("{}:{PORT}", node.address());
        let server = own_program(node, "forebay-s3-server")?.args(["--root", paths::COLD, "--listen", &listen]);
        Ok(server.args(["--access-key", ACCESS_KEY, "--secret-key", &secret]))
    })?;
    daemon.wait_log("listening at", UP)?;
    Ok(daemon)
}
