//! Finds the installed Slurm's version, which a SPANK plugin must state. Without Slurm's headers the plugin is built
//! empty, so that everything else can be built on a machine without Slurm.

use std::path::{Path, PathBuf};
use std::{env, fs};

const HEADER: &str = "slurm/slurm_version.h";
const USUAL: [&str; 4] = ["/usr/include", "/usr/local/include", "/opt/slurm/include", "/usr/local/slurm/include"];

fn main() {
    println!("cargo:rustc-check-cfg=cfg(slurm_headers)");
    println!("cargo:rerun-if-env-changed=SLURM_INCLUDE_DIR");
    println!("cargo:rerun-if-changed=build.rs");
    let chosen = env::var_os("SLURM_INCLUDE_DIR").map(PathBuf::from);
    let folders = chosen.map_or_else(|| USUAL.iter().map(PathBuf::from).collect(), |chosen| vec![chosen]);
    for folder in &folders {
        println!("cargo:rerun-if-changed={}", folder.join(HEADER).display());
    }
    let found = folders.iter().find_map(|folder| Some((folder, version(&folder.join(HEADER))?)));
    let Some((folder, version)) = found else {
        println!(
            "cargo:warning=no {HEADER} in {folders:?}: the SPANK plugin is built empty. Install libslurm-dev (Debian) \
             or slurm-devel (RPM), or set SLURM_INCLUDE_DIR, and build again"
        );
        return;
    };
    println!("cargo:rustc-cfg=slurm_headers");
    println!("cargo:rustc-env=FOREBAY_SLURM_INCLUDE={}", folder.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("slurm_version.rs"), format!("{version}u32")).expect("OUT_DIR is writable");
}

/// `SLURM_VERSION_NUMBER` of a header; `None` where there is none.
fn version(header: &Path) -> Option<u32> {
    let text = fs::read_to_string(header).ok()?;
    let number = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let defines = words.next() == Some("#define") && words.next() == Some("SLURM_VERSION_NUMBER");
        if defines { words.next() } else { None }
    })?;
    u32::from_str_radix(number.strip_prefix("0x")?, 16).ok()
}
