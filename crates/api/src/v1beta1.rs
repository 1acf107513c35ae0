//! `stash.appscode.com/v1beta1`: what is backed up and restored, when, and what came of it.

mod backup_configuration;
mod backup_session;
mod batch;
mod blueprint;
mod function;
mod hooks;
mod progress;
mod reference;
mod restore_session;
mod retention;
mod runtime_settings;
mod target;
mod volume;

pub use backup_configuration::{
    BackupConfiguration, BackupConfigurationSpec, BackupConfigurationStatus, BackupInvokerPhase,
    RetryConfig,
};
pub use backup_session::{
    BackupSession, BackupSessionPhase, BackupSessionSpec, BackupSessionStatus, BackupTargetPhase,
    BackupTargetStatus, FileStats, HostBackupPhase, HostBackupStats, PostBackupAction,
    PreBackupAction, SnapshotStats,
};
pub use batch::{
    BackupBatch, BackupBatchMember, BackupBatchMemberConditions, BackupBatchSpec,
    BackupBatchStatus, ExecutionOrder, RestoreBatch, RestoreBatchMember, RestoreBatchSpec,
    RestoreBatchStatus, RestoreMemberStatus, RestoreTargetPhase,
};
pub use blueprint::{BackupBlueprint, BackupBlueprintSpec};
pub use function::{Function, FunctionRef, FunctionSpec, Task, TaskSpec};
pub use hooks::{
    BackupHooks, BackupPostHookPolicy, FormEntry, Handler, HttpPostAction, PostBackupHook,
    PostRestoreHook, RestoreHooks, RestorePostHookPolicy,
};
pub use progress::HostProgress;
pub use reference::{BackupInvokerRef, Parameter, RepositoryRef, TargetRef, TaskRef};
pub use restore_session::{
    HostRestorePhase, HostRestoreStats, RestorePhase, RestoreSession, RestoreSessionSpec,
    RestoreSessionStatus,
};
pub use retention::RetentionPolicy;
pub use runtime_settings::{
    ContainerRuntimeSettings, IoNiceSettings, NiceSettings, PodRuntimeSettings, RuntimeSettings,
};
pub use target::{BackupTarget, RestoreTarget, Rule, Snapshotter};
pub use volume::{EmptyDirSettings, PartialObjectMeta, VolumeClaimTemplate};

/// The API version of this module, group and version.
pub const API_VERSION: &str = "stash.appscode.com/v1beta1";
