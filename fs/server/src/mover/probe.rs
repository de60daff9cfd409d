//! Looking at a source before anything is imported.

use std::time::Duration;

use forebay_object::Tier;
use forebay_tier::name;
use forebay_tier::pin::Pin;
use forebay_types::TierId;
use forebay_wire::tier::{TierError, TierReply, TierUser};
use futures::stream::StreamExt;

use super::import::single;
use super::stores::Stores;

/// Longest a source is listed: whoever asks waits for the answer, and a part of it would be pinned to another version
/// each time.
const LIST_FOR: Duration = Duration::from_secs(4);

/// Files and bytes below a prefix, and their version; or why it may not be used.
pub(super) async fn probe(
    stores: &Stores,
    tier: TierId,
    prefix: &str,
    user: Option<&TierUser>,
    write: bool,
) -> Result<TierReply, TierError> {
    let tier = stores.tier(tier).await?;
    if let Some(user) = user {
        tier.check_access(user, name::trim(prefix), write).await?;
    }
    let mut pin = Pin::default();
    if write {
        return Ok(TierReply::Probed { files: 0, bytes: 0, file: None, pin: pin.digest() });
    }
    if let Some(object) = single(&tier, prefix).await? {
        let file = name::split(&object.key).1.to_owned();
        pin.add(&file, object.size_bytes, &object.etag);
        return Ok(TierReply::Probed { files: 1, bytes: object.size_bytes, file: Some(file), pin: pin.digest() });
    }
    let url = tier.url(name::trim(prefix));
    let late = || TierError::Unavailable {
        url: url.clone(),
        reason: format!("it was not listed within {} s", LIST_FOR.as_secs()),
    };
    let listing = list(&tier, prefix, user, &mut pin);
    let (files, bytes) = tokio::time::timeout(LIST_FOR, listing).await.unwrap_or_else(|_| Err(late()))?;
    if files == 0 && url.starts_with("s3:") {
        return Err(TierError::Missing { url });
    }
    Ok(TierReply::Probed { files, bytes, file: None, pin: pin.digest() })
}

async fn list(tier: &Tier, prefix: &str, user: Option<&TierUser>, pin: &mut Pin) -> Result<(u64, u64), TierError> {
    let (mut files, mut bytes) = (0, 0);
    let mut found = tier.list(name::trim(prefix), user);
    while let Some(object) = found.next().await {
        let object = object?;
        if let Some(key) = name::below(prefix, &object.key) {
            pin.add(key, object.size_bytes, &object.etag);
            files += 1;
            bytes += object.size_bytes;
        }
    }
    Ok((files, bytes))
}
