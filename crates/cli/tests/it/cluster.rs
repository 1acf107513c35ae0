//! The binary against a real Kubernetes API server. Every test is skipped, with a line that says so, where there is no
//! cluster (`cargo xtask cluster up`).

mod agent;
pub mod agent_stage;
