//! Table of event types and what happened to the object in each. The decoder uses it, and
//! `docs/src/reference/events.md` repeats it.
//!
//! Sources:
//!
//! - Amazon: "Event notification types and destinations", "Using EventBridge" and "Annotating your objects" in the S3
//!   user guide, and the enumeration `Event` of the S3 API, against which a test of `wasmrun-aws` compares the table.
//!   EventBridge uses one detail type for all deletions. Its field `reason` distinguishes those by a request
//!   (`DeleteObject`) and by a lifecycle rule (`Lifecycle Expiration`), and `deletion-type` those that leave a delete
//!   marker.
//! - MinIO: `internal/event/name.go` of its source.
//! - Ceph: "S3 Bucket Notifications Compatibility" in its documentation, and `rgw_notify_event_type.cc` of its source,
//!   whose spelling differs in places.

use super::Change;
use super::records::Sender;

/// Event types with the same meaning.
#[derive(Clone, Copy, Debug)]
pub struct EventKind {
    /// The first service that has these types. Others may have them too.
    pub sender: Sender,
    /// What happened to the object.
    pub change: Change,
    /// Names in notifications, without the prefix `s3:`.
    pub types: &'static [&'static str],
    /// Name in EventBridge. `None` if it has none, or Amazon doesn't document it.
    pub detail_type: Option<&'static str>,
}

const fn kind(
    sender: Sender,
    change: Change,
    types: &'static [&'static str],
    detail_type: Option<&'static str>,
) -> EventKind {
    EventKind { sender, change, types, detail_type }
}

/// All known event types.
pub const EVENT_KINDS: &[EventKind] = {
    use Change::{Created, Other, Removed};
    use Sender::{Amazon, Ceph, MinIo};
    &[
        kind(
            Amazon,
            Created,
            &[
                "ObjectCreated:Put",
                "ObjectCreated:Post",
                "ObjectCreated:Copy",
                "ObjectCreated:CompleteMultipartUpload",
            ],
            Some("Object Created"),
        ),
        kind(
            Amazon,
            Removed,
            &[
                "ObjectRemoved:Delete",
                "ObjectRemoved:DeleteMarkerCreated",
                "LifecycleExpiration:Delete",
                "LifecycleExpiration:DeleteMarkerCreated",
            ],
            Some("Object Deleted"),
        ),
        kind(Amazon, Other, &["ObjectRestore:Post"], Some("Object Restore Initiated")),
        kind(Amazon, Other, &["ObjectRestore:Completed"], Some("Object Restore Completed")),
        // The restored copy is gone; the archived object remains.
        kind(Amazon, Other, &["ObjectRestore:Delete"], Some("Object Restore Expired")),
        kind(Amazon, Other, &["LifecycleTransition"], Some("Object Storage Class Changed")),
        kind(Amazon, Other, &["IntelligentTiering"], Some("Object Access Tier Changed")),
        kind(Amazon, Other, &["ObjectTagging:Put"], Some("Object Tags Added")),
        kind(Amazon, Other, &["ObjectTagging:Delete"], Some("Object Tags Deleted")),
        kind(Amazon, Other, &["ObjectAcl:Put"], Some("Object ACL Updated")),
        kind(Amazon, Other, &["ObjectAnnotation:Put", "ObjectAnnotation:Delete"], None),
        kind(Amazon, Other, &["ObjectRetention:Put"], None),
        kind(
            Amazon,
            Other,
            &[
                "Replication:OperationFailedReplication",
                "Replication:OperationMissedThreshold",
                "Replication:OperationReplicatedAfterThreshold",
                "Replication:OperationNotTracked",
            ],
            None,
        ),
        // The key still exists, but reads of it are refused.
        kind(Amazon, Other, &["ReducedRedundancyLostObject"], None),
        kind(
            MinIo,
            Removed,
            &["ObjectRemoved:DeleteAllVersions", "LifecycleDelMarkerExpiration:Delete"],
            None,
        ),
        // Named like the creation of an object, but the content doesn't change.
        kind(
            MinIo,
            Other,
            &[
                "ObjectCreated:PutTagging",
                "ObjectCreated:DeleteTagging",
                "ObjectCreated:PutRetention",
                "ObjectCreated:PutLegalHold",
            ],
            None,
        ),
        // There was no object to remove.
        kind(MinIo, Other, &["ObjectRemoved:NoOP"], None),
        kind(
            MinIo,
            Other,
            &[
                "ObjectAccessed:Get",
                "ObjectAccessed:Head",
                "ObjectAccessed:Attributes",
                "ObjectAccessed:GetRetention",
                "ObjectAccessed:GetLegalHold",
                "ObjectTransition:Complete",
                "ObjectTransition:Failed",
                "Replication:OperationCompletedReplication",
                "Scanner:ManyVersions",
                "Scanner:LargeVersions",
                "Scanner:BigPrefix",
            ],
            None,
        ),
        // The object arrived from another zone.
        kind(Ceph, Created, &["ObjectSynced:Create", "Replication:Create"], None),
        kind(
            Ceph,
            Removed,
            &[
                "ObjectSynced:Delete",
                "ObjectSynced:DeletionMarkerCreated",
                "Replication:Delete",
                "Replication:DeletionMarkerCreated",
                "ObjectLifecycle:Expiration:Current",
                "ObjectLifecycle:Expiration:NonCurrent",
                "ObjectLifecycle:Expiration:Noncurrent",
                "ObjectLifecycle:Expiration:DeleteMarker",
            ],
            None,
        ),
        kind(
            Ceph,
            Other,
            &[
                "ObjectLifecycle:Expiration:AbortMultipartUpload",
                "ObjectLifecycle:Expiration:AbortMPU",
                "ObjectLifecycle:Transition:Current",
                "ObjectLifecycle:Transition:NonCurrent",
                "ObjectLifecycle:Transition:Noncurrent",
            ],
            None,
        ),
    ]
};

/// Returns what happened in a notification of this type, with or without the prefix `s3:`. A type that isn't in the
/// table has the meaning of its family.
pub(super) fn of_type(event_type: &str) -> Change {
    let name = event_type.strip_prefix("s3:").unwrap_or(event_type);
    match EVENT_KINDS.iter().find(|kind| kind.types.contains(&name)) {
        Some(kind) => kind.change,
        None => match name.split(':').next() {
            Some("ObjectCreated") => Change::Created,
            Some("ObjectRemoved" | "LifecycleExpiration") => Change::Removed,
            _ => Change::Other,
        },
    }
}

/// Returns what happened in an EventBridge event of this detail type.
pub(super) fn of_detail_type(detail_type: &str) -> Change {
    let kind = EVENT_KINDS.iter().find(|kind| kind.detail_type == Some(detail_type));
    kind.map_or(Change::Other, |kind| kind.change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_expired_object_is_removed_whoever_tells_of_it() {
        for event_type in [
            "ObjectRemoved:Delete",
            "ObjectRemoved:DeleteMarkerCreated",
            "LifecycleExpiration:Delete",
            "s3:LifecycleExpiration:DeleteMarkerCreated",
            "s3:ObjectLifecycle:Expiration:Current",
        ] {
            assert_eq!(of_type(event_type), Change::Removed, "{event_type}");
        }
        assert_eq!(of_detail_type("Object Deleted"), Change::Removed);
    }

    #[test]
    fn what_leaves_the_content_as_it_is_neither_creates_nor_removes() {
        for event_type in [
            "ObjectAnnotation:Put",
            "ObjectAnnotation:Delete",
            "ObjectCreated:PutTagging",
            "ObjectRemoved:NoOP",
        ] {
            assert_eq!(of_type(event_type), Change::Other, "{event_type}");
        }
        assert_eq!(of_detail_type("Object Tags Deleted"), Change::Other);
    }

    #[test]
    fn a_type_that_is_not_known_says_what_its_family_does() {
        assert_eq!(of_type("ObjectCreated:Append"), Change::Created);
        assert_eq!(of_type("s3:LifecycleExpiration:Version"), Change::Removed);
        assert_eq!(of_type("ObjectRenamed"), Change::Other);
        assert_eq!(of_type(""), Change::Other);
    }

    #[test]
    fn each_type_is_in_the_table_once() {
        let mut seen = HashSet::new();
        for kind in EVENT_KINDS {
            let mut names = kind.types.iter().copied().chain(kind.detail_type);
            assert!(names.all(|name| seen.insert(name)), "{kind:?}");
        }
    }

    #[test]
    fn the_documentation_says_the_same() {
        let mut table = String::new();
        for kind in EVENT_KINDS {
            let types: Vec<_> = kind.types.iter().map(|name| format!("`{name}`")).collect();
            let detail_type = kind.detail_type.map_or("–".into(), |name| format!("`{name}`"));
            let row = [kind.change.as_str(), kind.sender.name(), &types.join(", "), &detail_type].join(" | ");
            table.push_str(&format!("| {row} |\n"));
        }
        let documentation = include_str!("../../../../../docs/src/reference/events.md");
        assert!(documentation.contains(&table), "docs/src/reference/events.md needs this table:\n{table}");
    }
}
