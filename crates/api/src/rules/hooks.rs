//! The rules of hooks.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::problem::Problem;
use crate::v1beta1::{BackupHooks, Handler, RestoreHooks};

pub(super) fn check_backup_hooks(hooks: Option<&BackupHooks>) -> Vec<Problem> {
    handlers_of_backup(hooks)
        .into_iter()
        .flat_map(|(path, handler)| check_handler(path, handler))
        .collect()
}

pub(super) fn check_restore_hooks(hooks: Option<&RestoreHooks>) -> Vec<Problem> {
    handlers_of_restore(hooks)
        .into_iter()
        .flat_map(|(path, handler)| check_handler(path, handler))
        .collect()
}

/// The handlers that are set, with their paths.
pub(super) fn handlers_of_backup(hooks: Option<&BackupHooks>) -> Vec<(&'static str, &Handler)> {
    let Some(hooks) = hooks else {
        return Vec::new();
    };
    let pre = hooks
        .pre_backup
        .iter()
        .map(|handler| ("spec.hooks.preBackup", handler));
    let post = hooks
        .post_backup
        .iter()
        .map(|hook| ("spec.hooks.postBackup", &hook.handler));
    pre.chain(post).collect()
}

/// The handlers that are set, with their paths.
pub(super) fn handlers_of_restore(hooks: Option<&RestoreHooks>) -> Vec<(&'static str, &Handler)> {
    let Some(hooks) = hooks else {
        return Vec::new();
    };
    let pre = hooks
        .pre_restore
        .iter()
        .map(|handler| ("spec.hooks.preRestore", handler));
    let post = hooks
        .post_restore
        .iter()
        .map(|hook| ("spec.hooks.postRestore", &hook.handler));
    pre.chain(post).collect()
}

fn check_handler(path: &str, handler: &Handler) -> Vec<Problem> {
    let mut problems = Vec::new();
    if handler.exec.is_none()
        && handler.http_get.is_none()
        && handler.http_post.is_none()
        && handler.tcp_socket.is_none()
    {
        problems.push(Problem::new(path, "the hook does nothing").with_fix(
            "add at least one of `exec`, `httpGet`, `httpPost`, `tcpSocket`, or remove the hook",
        ));
    }
    if let Some(exec) = &handler.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        if command.first().is_none_or(String::is_empty) {
            problems.push(
                Problem::new(format!("{path}.exec.command"), "the command is empty").with_fix(
                    "list the program and its arguments, such as `[\"/bin/sh\", \"-c\", \"sync\"]`",
                ),
            );
        }
    }
    for (name, port) in ports(handler) {
        problems.extend(check_port(&format!("{path}.{name}.port"), port, handler));
    }
    let schemes = [
        (
            "httpGet",
            handler
                .http_get
                .as_ref()
                .and_then(|get| get.scheme.as_deref()),
        ),
        (
            "httpPost",
            handler
                .http_post
                .as_ref()
                .and_then(|post| post.scheme.as_deref()),
        ),
    ];
    for (name, scheme) in schemes {
        if let Some(scheme) = scheme.filter(|scheme| !matches!(*scheme, "" | "HTTP" | "HTTPS")) {
            problems.push(
                Problem::new(format!("{path}.{name}.scheme"), "not a scheme of hooks")
                    .with_value(scheme)
                    .with_fix("use `HTTP` or `HTTPS`"),
            );
        }
    }
    problems
}

/// The ports of a handler with the name of the action.
pub(super) fn ports(handler: &Handler) -> Vec<(&'static str, &IntOrString)> {
    let get = handler.http_get.iter().map(|get| ("httpGet", &get.port));
    let post = handler
        .http_post
        .iter()
        .map(|post| ("httpPost", &post.port));
    let socket = handler
        .tcp_socket
        .iter()
        .map(|socket| ("tcpSocket", &socket.port));
    get.chain(post).chain(socket).collect()
}

fn check_port(path: &str, port: &IntOrString, handler: &Handler) -> Option<Problem> {
    let name = match port {
        IntOrString::Int(1..=65535) => return None,
        IntOrString::Int(number) => {
            return Some(
                Problem::new(path, "not a port")
                    .with_value(number)
                    .with_fix("use a number from 1 to 65535"),
            );
        }
        IntOrString::String(name) => name,
    };
    if name.parse::<u16>().is_ok_and(|number| number > 0) {
        return None;
    }
    if !is_port_name(name) {
        return Some(
            Problem::new(path, "neither a port nor the name of one")
                .with_value(name)
                .with_fix("use a number from 1 to 65535, or a name of at most 15 lower-case letters, digits and `-`"),
        );
    }
    handler.container_name.is_none().then(|| {
        Problem::new(path, "a named port needs `containerName`")
            .with_value(name)
            .with_fix("name the container that has the port, or use its number")
    })
}

fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
