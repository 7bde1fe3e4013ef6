// One line for each case file (scripts/compare_verifiers writes them): name, tab, status, "refused", and why.
const fs = require('fs');
const { QuoteVerifier } = require('@phala/dcap-qvl');

const hex = (text) => Buffer.from(text, 'hex');
for (const path of process.argv.slice(2)) {
  const c = JSON.parse(fs.readFileSync(path, 'utf8'));
  let out;
  try {
    const verifier = c.root ? QuoteVerifier.newWithRootCa(hex(c.root)) : QuoteVerifier.newProd();
    const collateral = { ...c.collateral };
    for (const key of ['root_ca_crl', 'pck_crl', 'tcb_info_signature', 'qe_identity_signature']) collateral[key] = hex(collateral[key]);
    out = verifier.verify(hex(c.quote), collateral, c.at).status;
  } catch (e) {
    out = `refused: ${e.message}${e.cause ? `: ${e.cause.message}` : ''}`;
  }
  console.log(`${c.name}\t${out.replace(/\s+/g, ' ')}`);
}
