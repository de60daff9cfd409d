//! Looking at a source before anything is imported.

use std::time::Duration;

use forebay_tier::name;
use forebay_types::TierId;
use forebay_wire::tier::{TierError, TierUser};
use futures::stream::StreamExt;

use super::import::single;
use super::stores::Stores;

/// Longest a source is counted: whoever asks waits for the answer. A source with more has at least what is said.
const COUNT_FOR: Duration = Duration::from_secs(3);

/// Files and bytes below a prefix, or why it may not be used.
pub(super) async fn probe(
    stores: &Stores,
    tier: TierId,
    prefix: &str,
    user: Option<&TierUser>,
    write: bool,
) -> Result<(u64, u64), TierError> {
    let tier = stores.tier(tier).await?;
    if let Some(user) = user {
        tier.check_access(user, name::trim(prefix), write).await?;
    }
    if write {
        return Ok((0, 0));
    }
    if let Some(object) = single(&tier, prefix).await? {
        return Ok((1, object.size_bytes));
    }
    let (mut files, mut bytes) = (0, 0);
    let counting = async {
        let mut found = tier.list(name::trim(prefix), user);
        while let Some(object) = found.next().await {
            let object = object?;
            if name::below(prefix, &object.key).is_some() {
                files += 1;
                bytes += object.size_bytes;
            }
        }
        Ok::<(), TierError>(())
    };
    let url = tier.url(name::trim(prefix));
    match tokio::time::timeout(COUNT_FOR, counting).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) if files == 0 && url.starts_with("s3:") => Err(TierError::Missing { url }),
        Err(_) if files == 0 => {
            let reason = format!("nothing was listed within {} s", COUNT_FOR.as_secs());
            Err(TierError::Unavailable { url, reason })
        }
        Ok(Ok(())) | Err(_) => Ok((files, bytes)),
    }
}
