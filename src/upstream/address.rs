//! Base URLs of the hosts that operations are sent to.

use portkey_operation::ApiBase;
use reqwest::Url;

/// Host of Portkey's own control plane.
const PORTKEY_HOST: &str = "api.portkey.ai";

/// Name of the embedded sandbox in the journal: it listens on another port each time.
const SANDBOX_NAME: &str = "sandbox";

/// Hosts that differ from each other in what they keep.
const HOSTS: [ApiBase; 6] = [
    ApiBase::ControlPlane,
    ApiBase::Gateway,
    ApiBase::Registry,
    ApiBase::Catalogue,
    ApiBase::PriceLists,
    ApiBase::Enkrypt,
];

/// The base URLs of all hosts. Operations are spread over several hosts, and some of them take no
/// key.
#[derive(Clone, Debug)]
pub struct Addresses {
    control_plane: Url,
    control_plane_v2: Url,
    gateway: Url,
    registry: Option<Url>,
    catalogue: Url,
    price_lists: Url,
    enkrypt: Url,
    is_sandbox: bool,
}

impl Addresses {
    /// Derives the base URLs that belong to a control plane.
    ///
    /// - The gateway has the control plane's address unless one is given.
    /// - The registry is known only for Portkey's own control plane. For any other it must be
    ///   given, because the key must not go to a host that its owner never named.
    /// - The public hosts take no key and are always Portkey's.
    /// - Enkrypt AI's host is independent of the others.
    ///
    /// # Errors
    /// Never fails, because the public addresses are constants that parse.
    pub fn new(
        control_plane: Url,
        gateway: Option<Url>,
        registry: Option<Url>,
        enkrypt: Url,
    ) -> Result<Self, <Url as std::str::FromStr>::Err> {
        let portkeys_own = control_plane.host_str() == Some(PORTKEY_HOST);
        let known = portkeys_own
            .then(|| Url::parse("https://mcp.portkey.ai/v0.1"))
            .transpose()?;
        Ok(Self {
            control_plane_v2: v2_url(&control_plane),
            gateway: gateway.unwrap_or_else(|| control_plane.clone()),
            registry: registry.or(known),
            catalogue: Url::parse("https://api.portkey.ai")?,
            price_lists: Url::parse("https://configs.portkey.ai")?,
            enkrypt,
            control_plane,
            is_sandbox: false,
        })
    }

    /// Uses the embedded sandbox for everything.
    pub fn from_sandbox(control_plane: &Url) -> Self {
        Self {
            is_sandbox: true,
            ..Self::from_single_host(control_plane)
        }
    }

    /// Uses one host for everything, as the sandbox does.
    pub fn from_single_host(control_plane: &Url) -> Self {
        let at = |path: &str| {
            let mut url = control_plane.clone();
            url.set_path(path);
            url
        };
        Self {
            control_plane: control_plane.clone(),
            control_plane_v2: v2_url(control_plane),
            gateway: control_plane.clone(),
            registry: Some(at("/v0.1")),
            catalogue: at("/"),
            price_lists: at("/"),
            enkrypt: at("/"),
            is_sandbox: false,
        }
    }

    /// Returns the base URL to which an operation's path is appended; `None` for an unknown
    /// registry.
    pub(super) fn base_url(&self, base: ApiBase) -> Option<Url> {
        Some(match base {
            ApiBase::ControlPlane => self.control_plane.clone(),
            ApiBase::ControlPlaneV2 => self.control_plane_v2.clone(),
            ApiBase::Gateway => self.gateway.clone(),
            ApiBase::Registry => self.registry.clone()?,
            ApiBase::Catalogue => self.catalogue.clone(),
            ApiBase::PriceLists => self.price_lists.clone(),
            ApiBase::Enkrypt => self.enkrypt.clone(),
        })
    }

    /// Returns true if the base URL of any host begins with `https`.
    pub(super) fn use_tls(&self) -> bool {
        let mut urls = HOSTS.iter().filter_map(|base| self.base_url(*base));
        urls.any(|url| url.scheme() != "http")
    }

    /// Returns the name of a host in the journal, which is its base URL without credentials. Both
    /// versions of the control plane have one name. `None` for an unknown registry.
    pub(super) fn name(&self, base: ApiBase) -> Option<String> {
        if self.is_sandbox {
            return Some(SANDBOX_NAME.to_owned());
        }
        let base = match base {
            ApiBase::ControlPlaneV2 => ApiBase::ControlPlane,
            base => base,
        };
        let mut url = self.base_url(base)?;
        // Both fail only for an address without a host, which has no credentials either.
        _ = url.set_username("");
        _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        Some(url.as_str().trim_end_matches('/').to_owned())
    }

    /// Returns the names of all hosts in the journal.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = HOSTS.iter().filter_map(|base| self.name(*base)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Replaces the suffix `/v1` of the path by `/v2`, or appends `/v2`.
fn v2_url(first: &Url) -> Url {
    let mut url = first.clone();
    let path = url.path().trim_end_matches('/');
    let path = format!("{}/v2", path.strip_suffix("/v1").unwrap_or(path));
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(control_plane: &str) -> Addresses {
        let url = |text: &str| text.parse().unwrap();
        let enkrypt = url("https://api.enkryptai.com/");
        Addresses::new(url(control_plane), None, None, enkrypt).unwrap()
    }

    #[test]
    fn names_of_hosts_have_no_credentials() {
        let own = addresses("https://ann:secret@portkey.example:8443/v1/");
        let name = own.name(ApiBase::ControlPlane).unwrap();
        assert_eq!(name, "https://portkey.example:8443/v1");
        assert_eq!(own.name(ApiBase::ControlPlaneV2), Some(name.clone()));
        assert_eq!(own.name(ApiBase::Registry), None);
        assert!(own.names().contains(&name));
        assert!(
            own.names()
                .contains(&"https://api.enkryptai.com".to_owned())
        );
    }

    #[test]
    fn sandbox_has_one_name_on_each_port() {
        let sandbox = Addresses::from_sandbox(&"http://127.0.0.1:4711/v1".parse().unwrap());
        assert_eq!(sandbox.names(), ["sandbox"]);
    }
}
