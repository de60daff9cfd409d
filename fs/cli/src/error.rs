//! What a command is asked that makes no sense; exit code 2.

/// Why a command cannot be carried out as it was given.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Nothing says where the cluster is.
    #[error(
        "no storage host is named: give --hosts HOST:PORT, set FOREBAY_HOSTS, or write [storage] hosts in {site_file}"
    )]
    NoHosts {
        /// The site's configuration.
        site_file: String,
    },
    /// The filesystem has nothing to move data to.
    #[error("filesystem '{fs}' has no cold tier: attach one with 'forebay fs tier attach'")]
    NoTier {
        /// The filesystem.
        fs: String,
    },
    /// One of several tiers has to be chosen.
    #[error("filesystem '{fs}' has several cold tiers: choose one with --tier, of {have}")]
    WhichTier {
        /// The filesystem.
        fs: String,
        /// Its tiers.
        have: String,
    },
    /// No tier of that name.
    #[error("filesystem '{fs}' has no tier '{tier}'; it has: {have}")]
    UnknownTier {
        /// The filesystem.
        fs: String,
        /// What was asked for.
        tier: String,
        /// Its tiers.
        have: String,
    },
    /// No filesystem of that name.
    #[error("there is no filesystem '{fs}'; there are: {have}")]
    UnknownFilesystem {
        /// What was asked for.
        fs: String,
        /// What there is.
        have: String,
    },
    /// A URL that no attached tier has.
    #[error("{url} is below no cold tier of '{fs}'; attached are: {have}")]
    OutsideTiers {
        /// The URL.
        url: String,
        /// The filesystem.
        fs: String,
        /// Roots of its tiers.
        have: String,
    },
    /// A file of credentials that cannot be used.
    #[error("credentials file {file} {reason}")]
    Credentials {
        /// The file.
        file: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Hosts that are in a cluster already.
    #[error("host {name} ({address}) already belongs to cluster '{cluster}': name hosts that are in none")]
    HostTaken {
        /// The host.
        name: String,
        /// Its address.
        address: String,
        /// Its cluster.
        cluster: String,
    },
    /// A quota can only be set on a directory below the root.
    #[error("{path} cannot have a quota: name a directory below the filesystem's root")]
    NoQuotaOn {
        /// The path.
        path: String,
    },
    /// A quota without any limit.
    #[error("nothing is limited: give --hard-limit, --soft-limit, --hard-files or --soft-files")]
    NoLimit,
    /// A quota that is not there.
    #[error("{owner} has no quota in '{fs}': 'forebay fs quota list {fs}' shows all")]
    NoQuota {
        /// Whose.
        owner: String,
        /// The filesystem.
        fs: String,
    },
    /// A user or group that this machine does not know.
    #[error("there is no {what} '{name}' on this machine: give its number")]
    Unknown {
        /// User or group.
        what: &'static str,
        /// The name given.
        name: String,
    },
}
