//! The `-o` options of the command line: `s3.storage-class=STANDARD_IA` and its like.

use crate::SetupError;
use crate::storage::Location;

/// What can stand before the dot.
const SERVICES: [&str; 10] = [
    "local", "s3", "gs", "azure", "swift", "b2", "rest", "sftp", "rclone", "opendal",
];

/// Refuses options that no service could mean.
pub(super) fn check_names(extended: &[(String, String)]) -> Result<(), SetupError> {
    for (name, _) in extended {
        let service = name.split_once('.').map(|(service, _)| service);
        if !service.is_some_and(|service| SERVICES.contains(&service)) {
            return Err(SetupError::new(format!("there is no option `{name}`"))
                .with_hint("Write it as `-o s3.storage-class=STANDARD_IA`."));
        }
    }
    Ok(())
}

/// Applies the options that belong to this place.
pub(super) fn apply(
    location: &mut Location,
    extended: &[(String, String)],
) -> Result<(), SetupError> {
    let scheme = location.scheme();
    for (name, value) in extended {
        let Some((_, name)) = name
            .split_once('.')
            .filter(|(service, _)| *service == scheme)
        else {
            continue;
        };
        match (&mut *location, name) {
            (Location::S3(options), _) => options.set(name, value)?,
            (location, "connections") => *location.connections_mut() = Some(count(scheme, value)?),
            (Location::Azure(options), "access-tier") => options.access_tier = Some(value.clone()),
            (Location::Gcs(options), "region") => options.region = Some(value.clone()),
            (Location::Gcs(options), "storage-class") => {
                options.storage_class = Some(value.clone());
            }
            _ => {
                return Err(SetupError::new(format!(
                    "there is no option `{scheme}.{name}`"
                )));
            }
        }
    }
    Ok(())
}

fn count(scheme: &str, value: &str) -> Result<usize, SetupError> {
    let count = value.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| {
        SetupError::new(format!("`{scheme}.connections` is no number above 0"))
            .with_hint(format!("Write it as `-o {scheme}.connections=10`."))
    })
}
