//! Debian packages of the peers: installed where they are missing, without a service of theirs being started or enabled.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::error::{Context, LabError};

/// Installs the packages named by its arguments.
///
/// Package scripts ask `policy-rc.d` before they start a service. The one that refuses is there for them only: in mounts of
/// their own, or, on a machine that has none, until the end. What the packages enabled for the next boot is disabled again.
const INSTALL: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
scratch=$(mktemp -d)
made=
trap 'rm -rf "$scratch" $made' EXIT
printf '#!/bin/sh\nexit 101\n' >"$scratch/policy-rc.d"
chmod 755 "$scratch/policy-rc.d"
if [ -e $policy ]; then
    mount --bind "$scratch/policy-rc.d" $policy
else
    made=$policy
    cp "$scratch/policy-rc.d" $policy
fi
names() { dpkg-query -W -f='${Package}\n' | sort -u; }
names >"$scratch/before"
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
for package in $(names | comm -13 "$scratch/before" -); do
    for file in $(dpkg -L "$package"); do
        case $file in
            */systemd/system/*@.*) ;;
            */systemd/system/*.service | */systemd/system/*.target | */systemd/system/*.socket | */systemd/system/*.timer)
                systemctl --quiet disable "${file##*/}" || true ;;
            /etc/init.d/*) update-rc.d "${file##*/}" disable || true ;;
        esac
    done
done
"#;
/// Characters of what was said that are shown after a failure.
const TAIL: usize = 800;

/// Installs what is missing of these packages, and asks the network for nothing when nothing is.
pub fn install(packages: &[&'static str]) -> Result<(), LabError> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("install {}", missing.join(" "));
    let output = Command::new("unshare")
        .args(["--mount", "/bin/bash", "-c", INSTALL, "install"])
        .args(&missing)
        .stdin(Stdio::null())
        // A Ctrl-C is not for package scripts: they end in order.
        .process_group(0)
        .output()
        .context(|| format!("install {}", missing.join(" ")))?;
    let still: Vec<&str> = missing.iter().copied().filter(|package| !is_installed(package)).collect();
    if output.status.success() && still.is_empty() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let end = said.char_indices().rev().nth(TAIL).map_or(0, |(place, _)| place);
    let packages = if still.is_empty() { missing } else { still };
    Err(LabError::Packages { packages: packages.join(" "), said: said[end..].to_owned() })
}

fn is_installed(package: &str) -> bool {
    let status = Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]).output();
    status.is_ok_and(|output| output.stdout == b"installed")
}
