//! Placement groups.
//!
//! A group is a list of drives in distinct hosts. Groups are laid out greedily so that any two hosts share about as
//! many groups as any other two (a balanced block design, approximately): the rebuild of a lost drive then reads from
//! all others evenly. Every group's positions are rotated, so that data and parity chunks spread evenly too.
//!
//! While hosts are down, stripes are written to narrower groups over the hosts that are up, with the same parity:
//! full redundancy at the price of space. [`geometry_for`] says which. Groups laid out together are a *layout*; where
//! hosts or drives have joined that the layout in use does not know, a new one takes its place. Hosts that are being
//! drained count as absent.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{DriveId, Geometry, HostId, PgId};
use forebay_wire::map::{ClusterMap, PlacementGroup};

/// Groups laid out for each host that takes part: enough that a host's load is even within a few percent, few enough
/// that a map stays small.
const GROUPS_PER_HOST: usize = 4;
/// Groups that each drive is in at least, as far as the drives of a host are alike.
const GROUPS_PER_DRIVE: usize = 2;

/// How new stripes are cut with `hosts` hosts up, for a cluster whose full geometry is `full`. Parity is kept as long
/// as a data chunk remains beside it; with two hosts a mirror is written; with one, nothing, unless the cluster has no
/// parity at all. `None`: stripes cannot be written safely.
#[must_use]
pub fn geometry_for(full: Geometry, hosts: usize) -> Option<Geometry> {
    let parity = usize::from(full.parity);
    let narrowed = |data: usize, parity: usize| Some(Geometry { data: data as u8, parity: parity as u8 });
    if hosts >= full.width() {
        Some(full)
    } else if hosts > parity && hosts >= 2 {
        narrowed(hosts - parity, parity)
    } else if hosts >= 2 {
        narrowed(1, hosts - 1)
    } else if hosts == 1 && parity == 0 {
        narrowed(1, 0)
    } else {
        None
    }
}

/// Brings the groups of a map in line with the drives that take new stripes. Of the layouts of the right geometry that
/// know all of these drives, the one whose usable groups reach most of them, the newest of several, becomes writable as
/// far as its drives are all there; every other group does not. Where no layout will do a new one is made. Returns
/// whether anything changed.
pub fn regroup(map: &mut ClusterMap) -> bool {
    let hosts = drives_by_host(map);
    let target = geometry_for(map.geometry, hosts.len());
    let drives: BTreeSet<DriveId> = hosts.values().flatten().copied().collect();
    let layout = target.map(|geometry| {
        best_layout(map, geometry, &drives).unwrap_or_else(|| {
            let first = map.groups.iter().map(|group| group.id.0 + 1).max().unwrap_or(1);
            let layout = map.groups.iter().map(|group| group.layout + 1).max().unwrap_or(1);
            map.groups.extend(lay_out(geometry, &hosts, first, layout));
            layout
        })
    });
    let mut changed = false;
    for group in &mut map.groups {
        let writable = Some(group.layout) == layout && group.drives.iter().all(|drive| drives.contains(drive));
        changed |= group.writable != writable;
        group.writable = writable;
    }
    changed
}

fn best_layout(map: &ClusterMap, geometry: Geometry, drives: &BTreeSet<DriveId>) -> Option<u32> {
    let mut known: BTreeMap<u32, BTreeSet<DriveId>> = BTreeMap::new();
    let mut reached: BTreeMap<u32, BTreeSet<DriveId>> = BTreeMap::new();
    for group in map.groups.iter().filter(|group| group.geometry == geometry) {
        known.entry(group.layout).or_default().extend(&group.drives);
        if group.drives.iter().all(|drive| drives.contains(drive)) {
            reached.entry(group.layout).or_default().extend(&group.drives);
        }
    }
    let complete = reached.iter().filter(|(layout, _)| known[layout].is_superset(drives));
    complete.map(|(layout, reached)| (reached.len(), *layout)).max().map(|(_, layout)| layout)
}

/// Drives that take new stripes, by host.
fn drives_by_host(map: &ClusterMap) -> BTreeMap<HostId, Vec<DriveId>> {
    let mut out: BTreeMap<HostId, Vec<DriveId>> = BTreeMap::new();
    for drive in map.drives.iter().filter(|drive| map.drive_takes_new(drive.id)) {
        out.entry(drive.host).or_default().push(drive.id);
    }
    out
}

/// Lays out groups of `geometry` over `hosts`, with ids from `first` on. `hosts` has at least `geometry.width()`.
fn lay_out(geometry: Geometry, hosts: &BTreeMap<HostId, Vec<DriveId>>, first: u32, layout: u32) -> Vec<PlacementGroup> {
    let most = hosts.values().map(Vec::len).max().unwrap_or(0);
    let count = (hosts.len() * GROUPS_PER_HOST).max((hosts.len() * most * GROUPS_PER_DRIVE).div_ceil(geometry.width()));
    let names: Vec<HostId> = hosts.keys().copied().collect();
    let mut host_load = vec![0u32; names.len()];
    let mut pair_load = vec![vec![0u32; names.len()]; names.len()];
    let mut drive_load: BTreeMap<DriveId, u32> = BTreeMap::new();
    let mut groups = Vec::new();
    for n in 0..count {
        let mut members: Vec<usize> = Vec::new();
        while members.len() < geometry.width() {
            let best = (0..names.len())
                .filter(|host| !members.contains(host))
                .min_by_key(|&host| {
                    let shared: u32 = members.iter().map(|&member| pair_load[host][member]).sum();
                    (host_load[host], shared, (host + n) % names.len())
                })
                .expect("as many hosts as the group is wide");
            members.push(best);
        }
        for &a in &members {
            host_load[a] += 1;
            members.iter().filter(|&&b| b != a).for_each(|&b| pair_load[a][b] += 1);
        }
        members.sort_unstable();
        members.rotate_left(n % geometry.width());
        let drives = members
            .iter()
            .map(|&host| {
                let drives = &hosts[&names[host]];
                let drive = *drives
                    .iter()
                    .min_by_key(|drive| (drive_load.get(drive).copied().unwrap_or(0), **drive))
                    .expect("a host has a drive");
                *drive_load.entry(drive).or_default() += 1;
                drive
            })
            .collect();
        groups.push(PlacementGroup { id: PgId(first + n as u32), geometry, drives, writable: true, layout });
    }
    groups
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
