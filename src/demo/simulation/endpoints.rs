//! The simulated endpoints.

/// The fixed properties of an endpoint.
#[derive(Debug)]
pub(super) struct EndpointProfile {
    /// The endpoint ID.
    pub(super) id: &'static str,
    /// The display name.
    pub(super) alias: &'static str,
    /// The application that it registers for.
    pub(super) app_context: &'static str,
}

const VIDEO: &str = "XYZ video app";
const SUPPORT: &str = "ABC support line";

/// The simulated endpoints. The first [`ALWAYS_IDLE`] are those in the examples of the documentation.
pub(super) const ENDPOINTS: [EndpointProfile; 10] = [
    EndpointProfile { id: "iggy_pop", alias: "Iggy Pop", app_context: VIDEO },
    EndpointProfile { id: "david_bowie", alias: "David Bowie", app_context: VIDEO },
    EndpointProfile { id: "mick_jagger", alias: "Mick Jagger", app_context: VIDEO },
    EndpointProfile { id: "Danko Jones", alias: "Danko Jones", app_context: SUPPORT },
    EndpointProfile { id: "joan_jett", alias: "Joan Jett", app_context: SUPPORT },
    EndpointProfile { id: "sip:dankojones@xyz.com", alias: "Danko Jones, at his desk", app_context: VIDEO },
    EndpointProfile { id: "björk", alias: "Björk Guðmundsdóttir", app_context: VIDEO },
    EndpointProfile { id: "patti_smith", alias: "Patti Smith", app_context: SUPPORT },
    EndpointProfile { id: "lemmy", alias: "Lemmy Kilmister", app_context: SUPPORT },
    EndpointProfile { id: "debbie_harry", alias: "Debbie Harry", app_context: VIDEO },
];

/// Number of endpoints that can always take a third-party call.
///
/// They register first, stay registered, and end other calls for it. The other endpoints may be busy or not registered.
pub(super) const ALWAYS_IDLE: usize = 2;
