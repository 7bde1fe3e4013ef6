// As node/verify.js, with dcap-qvl from crates.io. `compare --time N FILE` verifies one case N times instead and prints
// the microseconds of CPU that one takes.
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::QuoteCollateralV3;
use serde_json::Value;

struct Case {
    name: String,
    at: u64,
    quote: Vec<u8>,
    collateral: QuoteCollateralV3,
    verifier: QuoteVerifier,
}

fn text(v: &Value, key: &str) -> String {
    v[key].as_str().unwrap_or("").to_string()
}

fn bytes(v: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(v, key)).expect("hex")
}

fn load(path: &str) -> Case {
    let v: Value = serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON");
    let c = &v["collateral"];
    Case {
        name: text(&v, "name"),
        at: v["at"].as_u64().expect("at"),
        quote: bytes(&v, "quote"),
        collateral: QuoteCollateralV3 {
            pck_crl_issuer_chain: text(c, "pck_crl_issuer_chain"),
            root_ca_crl: bytes(c, "root_ca_crl"),
            pck_crl: bytes(c, "pck_crl"),
            tcb_info_issuer_chain: text(c, "tcb_info_issuer_chain"),
            tcb_info: text(c, "tcb_info"),
            tcb_info_signature: bytes(c, "tcb_info_signature"),
            qe_identity_issuer_chain: text(c, "qe_identity_issuer_chain"),
            qe_identity: text(c, "qe_identity"),
            qe_identity_signature: bytes(c, "qe_identity_signature"),
            pck_certificate_chain: None,
        },
        verifier: match v["root"].as_str() {
            Some(root) => QuoteVerifier::new(hex::decode(root).expect("hex")),
            None => QuoteVerifier::new_prod(),
        },
    }
}

fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("schedstat");
    text.split_whitespace().next().and_then(|n| n.parse().ok()).expect("number")
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().map(String::as_str) == Some("--time") {
        let count: u64 = args[1].parse().expect("N");
        let c = load(&args[2]);
        let began = cpu_ns();
        for _ in 0..count {
            c.verifier.verify(&c.quote, &c.collateral, c.at).expect("verified");
        }
        println!("{:.1}", (cpu_ns() - began) as f64 / 1000.0 / count as f64);
        return;
    }
    for path in &args {
        let c = load(path);
        let out = match c.verifier.verify(&c.quote, &c.collateral, c.at) {
            Ok(report) => report.status,
            Err(e) => format!("refused: {e:#}"),
        };
        println!("{}\t{}", c.name, out.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}
