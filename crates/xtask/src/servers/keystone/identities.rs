//! Domains, projects, users and what lets them in, made through Keystone's own API.

use serde_json::{Value, json};

use super::{ADMIN_PASSWORD, REGION, REGION_TLS};
use crate::failure::Failure;
use crate::servers::Server;
use crate::servers::run::Run;

const PASSWORD: &str = "demo-password-c4e8";
const READER_PASSWORD: &str = "reader-password-1c77";
const TRUSTEE_PASSWORD: &str = "trustee-password-6de2";
const APPLICATION_SECRET: &str = "application-secret-88af";
/// The user as whom Swift asks Keystone about tokens.
pub const SERVICE_PASSWORD: &str = "swift-password-20bb";

/// Keystone's API as the administrator.
pub struct Identities<'a> {
    run: &'a Run,
    address: String,
    token: String,
}

impl<'a> Identities<'a> {
    /// Logs in.
    pub fn enter(run: &'a Run, address: &str) -> Result<Self, Failure> {
        let mut identities = Self {
            run,
            address: address.to_owned(),
            token: String::new(),
        };
        let user =
            json!({"name": "admin", "domain": {"id": "default"}, "password": ADMIN_PASSWORD});
        let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
        identities.token = identities.log_in(&user, &scope)?;
        Ok(identities)
    }

    /// Makes everything that `keystone` offers and adds it to the values.
    pub fn make_users(&self, server: Server) -> Result<Server, Failure> {
        let people = self.make("domains", "domain", &json!({"name": "People"}))?;
        let places = self.make("domains", "domain", &json!({"name": "Places"}))?;
        let project = json!({"name": "demo", "domain_id": places});
        let project = self.make("projects", "project", &project)?;
        let service = json!({"name": "service", "domain_id": "default"});
        let service = self.make("projects", "project", &service)?;
        let user = |name: &str, password: &str, domain: &str| {
            let user = json!({"name": name, "password": password, "domain_id": domain});
            self.make("users", "user", &user)
        };
        let demo = user("demo", PASSWORD, &people)?;
        let reader = user("reader", READER_PASSWORD, &people)?;
        let trustee = user("trustee", TRUSTEE_PASSWORD, &people)?;
        let swift = user("swift", SERVICE_PASSWORD, "default")?;
        for (user, project, role) in [
            (&demo, &project, "member"),
            (&reader, &project, "reader"),
            (&swift, &service, "admin"),
        ] {
            let role = self.role(role)?;
            self.run
                .curl(format!(
                    "{}/projects/{project}/users/{user}/roles/{role}",
                    self.address
                ))
                .method("PUT")
                .header("X-Auth-Token", &self.token)
                .succeed()?;
        }
        let (application, trust) = self.delegate(&demo, &trustee, &project)?;
        Ok([
            ("user", "demo"),
            ("user_id", &demo),
            ("password", PASSWORD),
            ("user_domain", "People"),
            ("user_domain_id", &people),
            ("project", "demo"),
            ("project_id", &project),
            ("project_domain", "Places"),
            ("project_domain_id", &places),
            ("application_id", &application),
            ("application_name", "backup"),
            ("application_secret", APPLICATION_SECRET),
            ("reader_user", "reader"),
            ("reader_password", READER_PASSWORD),
            ("trustee_user", "trustee"),
            ("trustee_password", TRUSTEE_PASSWORD),
            ("trust_id", &trust),
        ]
        .into_iter()
        .fold(server, |server, (name, value)| server.value(name, value)))
    }

    /// What only the user can make: an application credential and a trust.
    fn delegate(
        &self,
        user: &str,
        trustee: &str,
        project: &str,
    ) -> Result<(String, String), Failure> {
        let token = self.log_in(
            &json!({"id": user, "password": PASSWORD}),
            &json!({"project": {"id": project}}),
        )?;
        let as_user = Self {
            run: self.run,
            address: self.address.clone(),
            token,
        };
        let application = as_user.make(
            &format!("users/{user}/application_credentials"),
            "application_credential",
            &json!({"name": "backup", "secret": APPLICATION_SECRET}),
        )?;
        let trust = as_user.make(
            "OS-TRUST/trusts",
            "trust",
            &json!({
                "trustor_user_id": user, "trustee_user_id": trustee, "project_id": project,
                "impersonation": true, "roles": [{"name": "member"}],
            }),
        )?;
        Ok((application, trust))
    }

    /// Puts a service, given by type and name, into the catalogue: the address without TLS in one region by all
    /// interfaces, the one with TLS in the other for the public only.
    pub fn publish(
        &self,
        (kind, name): (&str, &str),
        plain_url: &str,
        tls_url: &str,
    ) -> Result<(), Failure> {
        let service = json!({"type": kind, "name": name});
        let service = self.make("services", "service", &service)?;
        for (region, interface, url) in [
            (REGION, "public", plain_url),
            (REGION, "internal", plain_url),
            (REGION, "admin", plain_url),
            (REGION_TLS, "public", tls_url),
        ] {
            let endpoint = json!({
                "service_id": service, "region": region, "interface": interface, "url": url,
            });
            self.make("endpoints", "endpoint", &endpoint)?;
        }
        Ok(())
    }

    /// Makes a thing and returns its id.
    fn make(&self, path: &str, kind: &str, content: &Value) -> Result<String, Failure> {
        let address = format!("{}/{path}", self.address);
        let answer = self
            .run
            .curl(&address)
            .header("X-Auth-Token", &self.token)
            .body("application/json", &json!({kind: content}).to_string())
            .succeed()?;
        let made = parse(&address, &answer.body)?;
        id(&made[kind])
    }

    fn role(&self, name: &str) -> Result<String, Failure> {
        let address = format!("{}/roles?name={name}", self.address);
        let answer = self
            .run
            .curl(&address)
            .header("X-Auth-Token", &self.token)
            .succeed()?;
        id(&parse(&address, &answer.body)?["roles"][0])
    }

    fn log_in(&self, user: &Value, scope: &Value) -> Result<String, Failure> {
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let body = json!({"auth": {"identity": identity, "scope": scope}});
        let answer = self
            .run
            .curl(format!("{}/auth/tokens", self.address))
            .body("application/json", &body.to_string())
            .succeed()?;
        answer
            .header("X-Subject-Token")
            .map(str::to_owned)
            .ok_or_else(|| Failure::Refused("Keystone gave no token".to_owned()))
    }
}

fn id(thing: &Value) -> Result<String, Failure> {
    thing["id"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::Refused(format!("Keystone made nothing: {thing}")))
}

fn parse(address: &str, body: &str) -> Result<Value, Failure> {
    serde_json::from_str(body).map_err(|source| Failure::Json {
        command: address.to_owned(),
        source,
    })
}
