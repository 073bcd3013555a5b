//! The fields of a relay information document (NIP-11) are read within bounds.
#![no_main]
use brotr_net::info::Info;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    if let Ok(info) = Info::parse(body.to_vec()) {
        assert!(info.is_same(&info));
        let _ = (info.nips(), info.topics().count(), info.languages().count(), info.refused_kinds().count());
        for name in ["name", "description", "pubkey", "software"] {
            let _ = (info.text_field(name), info.limitation(name), info.limit(name));
        }
    }
});
