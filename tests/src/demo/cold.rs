//! The demo's cold tier: a folder that every storage host sees, or a real S3 server over one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::{Context, LabError};
use crate::lab::Lab;
use crate::node::{Node, own_program};
use crate::paths;
use crate::process::Daemon;
use crate::site::cold_folder;

/// The node that carries the S3 server.
pub const NODE: &str = "cold";
const BUCKET: &str = "cold";
const PORT: u16 = 9000;
const ACCESS_KEY: &str = "demo-access";
const UP: Duration = Duration::from_secs(30);
const PUT: Duration = Duration::from_secs(90);

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
        attach
            .args([
                "--endpoint",
                &endpoint(server.node()),
                "--region",
                "us-east-1",
                "--credentials",
                "/etc/forebay/cold.credentials",
            ])
            .run()
    }

    /// The S3 server, where there is one.
    pub fn server(&mut self) -> Option<&mut Daemon> {
        self.server.as_mut()
    }

    /// A folder of its objects to lay things into, as this machine sees it; for an S3 server one that [`Self::publish`] puts.
    pub fn folder(&self, lab: &Lab, name: &str) -> Result<PathBuf, LabError> {
        let parent = if self.server.is_some() { lab.shared() } else { self.objects.clone() };
        let path = parent.join(name);
        fs::create_dir_all(&path).context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Makes what was laid into [`Self::folder`] objects of the tier; the result says what the tier then lists.
    pub fn publish(&self, name: &str) -> Result<String, LabError> {
        let Some(server) = &self.server else { return Ok("in place".to_owned()) };
        let (node, from) = (server.node(), format!("{}/{name}", paths::SHARED));
        let put = own_program(node, "forebay-s3-put")?.args(["--endpoint", &endpoint(node), "--bucket", BUCKET]);
        put.args(["--access-key", ACCESS_KEY, "--secret-key", &self.secret, &from, name]).deadline(PUT).run()
    }
}

fn endpoint(node: &Node) -> String {
    format!("http://{}:{PORT}", node.address())
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
