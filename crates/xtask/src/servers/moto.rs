//! moto: AWS's S3, STS and metadata services as an emulator, in memory.
//!
//! `moto` takes any credentials. `moto-iam` checks signatures: only the key in its values may do
//! anything, and STS does not work there (it does on `moto`).

use std::path::Path;
use std::process::Command;

use super::run::Run;
use super::{Product, Server};
use crate::failure::Failure;

pub const PRODUCT: Product = Product {
    name: "moto",
    version: "5.2.5",
    offers: &["moto", "moto-iam"],
    needs: &[],
    install: |installer| installer.python(include_str!("moto.txt")),
    start,
};

const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let (plain, tls, iam) = (run.port()?, run.port()?, run.port()?);
    let files = run.certificates();
    let program = folder.join("bin/moto_server");
    let listen = |port: u16| {
        let mut command = Command::new(&program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command
    };
    let mut over_tls = listen(tls);
    over_tls
        .arg("-c")
        .arg(&files.server)
        .arg("-k")
        .arg(&files.server_key);
    let mut started = [
        (
            run.spawn("http", &mut listen(plain))?,
            format!("http://127.0.0.1:{plain}"),
        ),
        (
            run.spawn("https", &mut over_tls)?,
            format!("https://localhost:{tls}"),
        ),
        (
            run.spawn("iam", &mut listen(iam))?,
            format!("http://127.0.0.1:{iam}"),
        ),
    ];
    for (server, address) in &mut started {
        server.wait_until_ready(|| run.curl(format!("{address}/moto-api/data.json")).answers())?;
    }
    let (key, secret) = check_signatures(run, &format!("http://127.0.0.1:{iam}"))?;
    let server =
        |name: &str| Server::new(name, "moto", PRODUCT.version).value("region", "us-east-1");
    Ok(vec![
        server("moto")
            .http(plain)
            .https(tls)
            .value("access_key_id", "testing")
            .value("secret_access_key", "testing-secret"),
        server("moto-iam")
            .http(iam)
            .value("access_key_id", key)
            .value("secret_access_key", secret),
    ])
}

/// Makes a user who may do everything, then lets moto check every further request.
fn check_signatures(run: &Run, address: &str) -> Result<(String, String), Failure> {
    let ask = |query: &str| {
        run.curl(format!("{address}/"))
            .header(
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x",
            )
            .options(&["--data-urlencode", &format!("PolicyDocument={POLICY}")])
            .options(&["--data", query])
            .succeed()
    };
    let user = "Version=2010-05-08&UserName=stash";
    ask(&format!("Action=CreateUser&{user}"))?;
    ask(&format!("Action=PutUserPolicy&PolicyName=all&{user}"))?;
    let made = ask(&format!("Action=CreateAccessKey&{user}"))?.body;
    let between = |name: &str| {
        let (_, rest) = made.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let (Some(key), Some(secret)) = (between("AccessKeyId"), between("SecretAccessKey")) else {
        return Err(Failure::Refused("moto made no access key".to_owned()));
    };
    run.curl(format!("{address}/moto-api/reset-auth"))
        .body("text/plain", "0")
        .succeed()?;
    Ok((key, secret))
}
