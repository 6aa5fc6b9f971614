//! Where the hosts are.

use portkey_operation::Base;
use reqwest::Url;

/// The host of Portkey's own control plane.
const PORTKEY: &str = "api.portkey.ai";

/// The address of every host operations live on (quirks.md §1).
#[derive(Clone, Debug)]
pub struct Addresses {
    control_plane: Url,
    control_plane_v2: Url,
    gateway: Url,
    registry: Option<Url>,
    catalogue: Url,
    price_lists: Url,
    enkrypt: Url,
}

impl Addresses {
    /// The hosts that go with a control plane. The gateway is the same unless named. The registry of
    /// another control plane than Portkey's own has to be named: the key must not go to a host its
    /// owner never heard of. The public hosts take no key and are always Portkey's. Enkrypt AI's host has
    /// nothing to do with the others.
    ///
    /// # Errors
    /// Never, as the public addresses are constants that parse.
    pub fn new(
        control_plane: Url,
        gateway: Option<Url>,
        registry: Option<Url>,
        enkrypt: Url,
    ) -> Result<Self, <Url as std::str::FromStr>::Err> {
        let portkeys_own = control_plane.host_str() == Some(PORTKEY);
        let known = portkeys_own
            .then(|| Url::parse("https://mcp.portkey.ai/v0.1"))
            .transpose()?;
        Ok(Self {
            control_plane_v2: second_version(&control_plane),
            gateway: gateway.unwrap_or_else(|| control_plane.clone()),
            registry: registry.or(known),
            catalogue: Url::parse("https://api.portkey.ai")?,
            price_lists: Url::parse("https://configs.portkey.ai")?,
            enkrypt,
            control_plane,
        })
    }

    /// Everything at one host, as the sandbox has it.
    pub fn all_at(control_plane: &Url) -> Self {
        let at = |path: &str| {
            let mut url = control_plane.clone();
            url.set_path(path);
            url
        };
        Self {
            control_plane: control_plane.clone(),
            control_plane_v2: second_version(control_plane),
            gateway: control_plane.clone(),
            registry: Some(at("/v0.1")),
            catalogue: at("/"),
            price_lists: at("/"),
            enkrypt: at("/"),
        }
    }

    /// The address of a host, to which an operation's path is appended; none if it is not known.
    pub(super) fn of(&self, base: Base) -> Option<Url> {
        Some(match base {
            Base::ControlPlane => self.control_plane.clone(),
            Base::ControlPlaneV2 => self.control_plane_v2.clone(),
            Base::Gateway => self.gateway.clone(),
            Base::Registry => self.registry.clone()?,
            Base::Catalogue => self.catalogue.clone(),
            Base::PriceLists => self.price_lists.clone(),
            Base::Enkrypt => self.enkrypt.clone(),
        })
    }
}

/// `/v2` beside `/v1`.
fn second_version(first: &Url) -> Url {
    let mut url = first.clone();
    let path = url.path().trim_end_matches('/');
    let path = format!("{}/v2", path.strip_suffix("/v1").unwrap_or(path));
    url.set_path(&path);
    url
}
