# shellcheck shell=bash disable=SC2016 # what stands in single quotes is for the shell in the box
# The cases of scripts/test_packages, in their order: each goes on where the one before it left the box.

units=(e2ee-keyholder.service e2ee-hsm-proxy.service)

run_cases() {
    first_run
    installed
    running
    faults
    wrong_pin
    credentials
    custody_log
    upgrade
    removal
}

nothing_runs() {
    local unit
    for unit in "${units[@]}"; do
        is "$(state_of "$unit" ActiveState)" inactive && is "$(box systemctl is-enabled "$unit" || true)" disabled || return 1
    done
}
starts_are_skipped() {
    box systemctl start e2ee-keyholder e2ee-hsm-proxy && nothing_runs &&
        is "$(state_of e2ee-hsm-proxy ConditionResult)" no && is "$(state_of e2ee-keyholder ConditionResult)" no
}

# The administrator's edit: the simulated enclave instead of the provider.
name_the_enclave() {
    box_sh 'systemd-run -q --unit=sim -p User=nobody -p RuntimeDirectory=sim /opt/e2ee-sim --no-tls --port 8080 \
        --root-out /run/sim/root.pem --port-file /run/sim/port
        for i in $(seq 50); do [ -s /run/sim/port ] || sleep 0.1; done
        install -m 640 -g e2ee-proxy /run/sim/root.pem /etc/e2ee-hsm-proxy/root.pem
        printf "%s\n" "# edited" "[upstream]" "upstream = http://127.0.0.1:8080/api/v1" "unsafe_http_upstream = on" \
            "[attestation]" "collateral = http://127.0.0.1:8080" \
            "unsafe_attestation_root = /etc/e2ee-hsm-proxy/root.pem" >>/etc/e2ee-hsm-proxy.conf'
}

first_run() {
    check "first run: apt install" do_documented 'first run' 1
    check "nothing is enabled, nothing has failed" nothing_runs
    check "a start without PIN and key is skipped" starts_are_skipped
    check "first run: the token" do_documented 'first run' 2
    check "a second token is not made over it" not box e2ee-softhsm-init
    check "first run: the API key" do_documented 'first run' 3
    check "the simulated enclave stands in the configuration" name_the_enclave
    check "first run: enable and start" do_documented 'first run' 4
    check "healthy" soon 10 healthy
    check "first run: the last command" has "$(do_documented 'first run' 5 2>&1)" '"status":"ok"'
    check "the token's own test" has "$(do_documented check 1 2>&1)" 'fast|moderate'
    box systemctl restart e2ee-keyholder # the test has looked for what others left in the token
    soon 10 healthy
}

modes() {
    local mode owner path bad=0
    while read -r mode owner path; do
        is "$path $(mode_of "$path")" "$path $mode $owner" || bad=1
    done <<'TABLE'
755 root:root /usr/bin/e2ee-hsm-proxy
755 root:root /usr/bin/e2ee-keyholder
755 root:root /usr/sbin/e2ee-softhsm-init
644 root:root /etc/e2ee-hsm-proxy.conf
644 root:root /etc/e2ee-keyholder.conf
750 root:e2ee-keyholder /etc/e2ee-keyholder
644 root:root /etc/e2ee-keyholder/softhsm2.conf
600 e2ee-keyholder:e2ee-keyholder /etc/e2ee-keyholder/pin
750 root:e2ee-proxy /etc/e2ee-hsm-proxy
600 root:root /etc/e2ee-hsm-proxy/api-key
700 e2ee-keyholder:e2ee-keyholder /var/lib/e2ee-keyholder
700 e2ee-keyholder:e2ee-keyholder /var/lib/e2ee-keyholder/tokens
700 e2ee-proxy:e2ee-proxy /var/lib/e2ee-hsm-proxy
700 e2ee-keyholder:e2ee-keyholder /var/log/e2ee-keyholder
755 e2ee-keyholder:e2ee-keyholder /run/e2ee-keyholder
660 e2ee-keyholder:e2ee-proxy /run/e2ee-keyholder/socket
TABLE
    return "$bad"
}
users() {
    has "$(box getent passwd e2ee-proxy)" ':/usr/sbin/nologin$' && has "$(box getent passwd e2ee-keyholder)" ':/usr/sbin/nologin$' &&
        is "$(box id -Gn e2ee-proxy)" e2ee-proxy && is "$(box id -Gn e2ee-keyholder)" e2ee-keyholder
}
files_belong() {
    box_sh 'for p in e2ee-keyholder e2ee-hsm-proxy e2ee-hsm-proxy-tools; do dpkg -V $p || exit 1; done' | grep -v '^??.* c /etc' || true
    box sh -c 'test -e /usr/share/man/man1/e2ee-hsm-proxy.1.gz -o -e /etc/dpkg/dpkg.cfg.d/excludes'
}
units_are_right() {
    local out
    out=$(box systemd-analyze verify --man=no "${units[@]}" 2>&1) || { echo "$out" && return 1; }
    is "$out" ""
}
exposure() {
    box systemd-analyze security --offline=true --threshold=20 --no-pager "/usr/lib/systemd/system/$1.service" | tail -1
    box systemd-analyze security --offline=true --threshold=20 --no-pager "/usr/lib/systemd/system/$1.service" >/dev/null
}
# Each drop-in alone, put beside its unit, leaves a unit that systemd understands.
examples_are_right() {
    local out
    out=$(box_sh 'cd /usr/share/doc; for f in e2ee-*/examples/*.conf; do
        unit=e2ee-keyholder; case $f in */api-key*) unit=e2ee-hsm-proxy ;; esac
        mkdir -p /tmp/u/$unit.service.d; cp /usr/lib/systemd/system/$unit.service /tmp/u; cp $f /tmp/u/$unit.service.d/
        echo "$f: $(systemd-analyze verify --man=no /tmp/u/$unit.service 2>&1)"; rm -r /tmp/u; done')
    has "$out" 'yubihsm.conf' >/dev/null && if has "$out" ': .'; then return 1; fi
}
completes() {
    has "$(box bash -c '. /usr/share/bash-completion/completions/e2ee-keyholder; COMP_WORDS=(e2ee-keyholder --aud) COMP_CWORD=1
        compopt() { :; }; _e2ee_keyholder; echo "${COMPREPLY[@]}"')" '--audit-log --audit-full'
}

installed() {
    check "modes and owners" modes
    check "users without login or further groups" users
    check "files as in the packages" files_belong
    check "units as systemd wants them" units_are_right
    check "drop-ins as systemd wants them" examples_are_right
    check "exposure of the keyholder at most 2.0: $(exposure e2ee-keyholder)" exposure e2ee-keyholder
    check "exposure of the proxy at most 2.0: $(exposure e2ee-hsm-proxy)" exposure e2ee-hsm-proxy
    check "completion" completes
}

others_are_kept_out() {
    local file
    for file in /etc/e2ee-keyholder/pin /etc/e2ee-keyholder/softhsm2.conf /etc/e2ee-hsm-proxy/api-key; do
        not box runuser -u e2ee-proxy -- cat "$file" || return 1
    done
    not box runuser -u e2ee-proxy -- ls /var/lib/e2ee-keyholder/tokens &&
        not box runuser -u e2ee-keyholder -- ls /var/lib/e2ee-hsm-proxy &&
        has "$(box runuser -u nobody -- curl -s -m 3 --unix-socket /run/e2ee-keyholder/socket http://x/ 2>&1 || echo refused)" refused
}
enclave_is_content() { is "$(box curl -s -m 5 http://127.0.0.1:8080/sim/violations)" '[]'; }
# Where the machine around the box has a limit of its own, systemd cannot give more.
memory_is_locked() {
    is "$(state_of e2ee-keyholder LimitMEMLOCK)" infinity || return 1
    if has "$(box cat /proc/1/limits)" '^Max locked memory +unlimited +unlimited' >/dev/null; then
        not has "$(journal e2ee-keyholder)" 'only the key heap'
    fi
}
reloads() {
    box systemctl reload e2ee-hsm-proxy && soon 5 reloaded
}
reloaded() { has "$(journal e2ee-hsm-proxy | tail -n 20)" 'read again|SIGHUP|reload' >/dev/null; }

running() {
    check "an answer through both" answered
    check "the enclave saw nothing wrong" enclave_is_content
    check "keyholder confined" confined e2ee-keyholder e2ee-keyholder
    check "proxy confined" confined e2ee-hsm-proxy e2ee-proxy
    check "keyholder without network" without_network
    check "keyholder's memory is locked" memory_is_locked
    check "neither user reads the other's" others_are_kept_out
    check "reload" reloads
}

faults() {
    check "keyholder killed: back in 3 s" killed_and_back e2ee-keyholder
    check "an answer after it" soon 10 answered
    check "proxy killed: back in 3 s" killed_and_back e2ee-hsm-proxy
    check "an answer after that" soon 10 answered
}

ended_with() { [ "$(state_of "$1" ActiveState)" = failed ] && [ "$(state_of "$1" ExecMainStatus)" = "$2" ]; }
pin_is_refused_once() {
    box_sh 'cp -p /etc/e2ee-keyholder/pin /run/kept-pin && echo 000000 >/etc/e2ee-keyholder/pin'
    box systemctl restart e2ee-keyholder
    soon 5 ended_with e2ee-keyholder 3 && sleep 2 && ended_with e2ee-keyholder 3 && is "$(state_of e2ee-keyholder NRestarts)" 0 &&
        box systemctl restart e2ee-keyholder && soon 5 ended_with e2ee-keyholder 3 &&
        has "$(journal e2ee-keyholder | tail -n 8)" 'has refused the PIN in .* before'
}
right_pin_again() {
    box_sh 'cat /run/kept-pin >/etc/e2ee-keyholder/pin' && box systemctl restart e2ee-keyholder && soon 10 healthy
}
wrong_pin() {
    check "a wrong PIN is tried once, and no restart tries it again" pin_is_refused_once
    check "the right one, and all goes on" right_pin_again
}

# $1: the PIN. Both secrets as encrypted credentials; the files themselves go away.
take_credentials() {
    box_sh "mkdir -p /etc/systemd/system/e2ee-keyholder.service.d /etc/systemd/system/e2ee-hsm-proxy.service.d
        cp /usr/share/doc/e2ee-keyholder/examples/pin-credential.conf /etc/systemd/system/e2ee-keyholder.service.d/
        cp /usr/share/doc/e2ee-hsm-proxy/examples/api-key-credential.conf /etc/systemd/system/e2ee-hsm-proxy.service.d/
        printf %s '$1' >/run/c && systemd-creds encrypt -q --with-key=host --name=pin /run/c /etc/e2ee-keyholder/pin.cred 2>&1
        echo sk-test >/run/c && systemd-creds encrypt -q --with-key=host --name=api-key /run/c /etc/e2ee-hsm-proxy/api-key.cred 2>&1
        rm -f /etc/e2ee-keyholder/pin /etc/e2ee-hsm-proxy/api-key && systemctl daemon-reload &&
        systemctl restart e2ee-keyholder e2ee-hsm-proxy"
}
credential_is_refused_once() {
    take_credentials 000000000000000000000000 && soon 5 ended_with e2ee-keyholder 3 &&
        box systemctl restart e2ee-keyholder && soon 5 ended_with e2ee-keyholder 3 &&
        has "$(journal e2ee-keyholder | tail -n 8)" 'correct the credential, then delete'
}
credential_after_the_marker() {
    take_credentials "$(box cat /run/kept-pin)" && soon 5 ended_with e2ee-keyholder 3 || return 1
    box_sh 'rm /var/lib/e2ee-keyholder/pin-refused.*' && box systemctl restart e2ee-keyholder && soon 10 healthy && answered
}
files_again() {
    box_sh 'rm -r /etc/systemd/system/e2ee-*.service.d /etc/e2ee-*/*.cred && cp -p /run/kept-pin /etc/e2ee-keyholder/pin
        systemctl daemon-reload && echo sk-test | install -m 600 /dev/stdin /etc/e2ee-hsm-proxy/api-key
        systemctl restart e2ee-keyholder e2ee-hsm-proxy' && soon 10 answered
}
credentials() {
    check "a wrong PIN in a credential is tried once, though each start makes another copy" credential_is_refused_once
    check "the right one waits until the marker is deleted" credential_after_the_marker
    check "files again" files_again
}

custody_log_is_kept() {
    box_sh 'printf "%s\n" "[token]" "audit_log = /var/log/e2ee-keyholder/custody.log" "audit_size = 4096" >>/etc/e2ee-keyholder.conf
        systemctl restart e2ee-keyholder'
    soon 10 answered && box systemctl restart e2ee-keyholder && soon 10 answered && box systemctl restart e2ee-keyholder && soon 10 answered &&
        has "$(box_sh 'cat /var/log/e2ee-keyholder/custody.log*')" '"unit":"e2ee-hsm-proxy.service"' &&
        box_sh 'e2ee-hsm-proxy audit verify /var/log/e2ee-keyholder/custody.log*'
}
# Its modules' functions are closures that libffi makes at run time, without memory that is written and executed.
through_p11kit() {
    box_sh 'cp -p /etc/e2ee-keyholder.conf /run/kept-conf
        printf "%s\n" "[token]" "pkcs11_module = $(ls /usr/lib/*/libp11-kit.so.0)" >>/etc/e2ee-keyholder.conf
        systemctl restart e2ee-keyholder' && soon 10 answered
    local status=$?
    box_sh 'grep -q softhsm /proc/$(systemctl show -P MainPID e2ee-keyholder)/maps && grep -q libp11-kit.so.0 /proc/$(systemctl show -P MainPID e2ee-keyholder)/maps' || status=1
    box_sh 'cp -p /run/kept-conf /etc/e2ee-keyholder.conf && systemctl restart e2ee-keyholder' && soon 10 answered && return "$status"
}
logrotate_keeps_the_chain() {
    box_sh 'cd /var/log/e2ee-keyholder && ls custody.log.0* && touch -d "20 days ago" custody.log.0*
        inode=$(stat -c %i custody.log) && cp /usr/share/doc/e2ee-keyholder/examples/custody-log.logrotate /tmp/rotate && chmod 644 /tmp/rotate
        logrotate -f /tmp/rotate && [ "$(stat -c %i custody.log)" = "$inode" ] && ls custody.log.0*.gz &&
        mkdir /tmp/chain && for f in custody.log*; do zcat -f $f >/tmp/chain/$f; done
        e2ee-hsm-proxy audit verify /tmp/chain/*' && answered
}
custody_log() {
    check "custody log: names the proxy's unit, and its chain holds" custody_log_is_kept
    check "p11-kit's proxy as the module, under the same unit" through_p11kit
    check "custody log: logrotate as in the example" logrotate_keeps_the_chain
}

upgraded() {
    local keyholder proxy
    keyholder=$(pid_of e2ee-keyholder) proxy=$(pid_of e2ee-hsm-proxy)
    box_sh 'apt-get -o Dpkg::Options::=--force-confold install /packages-2/*.deb' &&
        is "$(box dpkg-query -W -f '${Version} ' e2ee-keyholder e2ee-hsm-proxy e2ee-hsm-proxy-tools)" '0.1.0-2 0.1.0-2 0.1.0-2 ' &&
        another_runs e2ee-keyholder "$keyholder" && another_runs e2ee-hsm-proxy "$proxy" &&
        box systemctl -q is-enabled "${units[@]}"
}
edits_are_kept() {
    box_sh 'grep -q "^# edited" /etc/e2ee-hsm-proxy.conf && ! grep -q "new in -2" /etc/e2ee-hsm-proxy.conf &&
        grep -q "new in -2" /etc/e2ee-hsm-proxy.conf.dpkg-dist && grep -q "new in -2" /etc/e2ee-keyholder/softhsm2.conf'
}
stopped_stays_stopped() {
    box systemctl stop e2ee-hsm-proxy && box_sh 'apt-get install --reinstall /packages-2/*.deb' &&
        is "$(state_of e2ee-hsm-proxy ActiveState)" inactive && active e2ee-keyholder && box systemctl start e2ee-hsm-proxy && soon 10 answered
}
upgrade() {
    check "upgrade: both services run anew, and stay enabled" upgraded
    check "upgrade: edited configuration kept, the rest renewed" edits_are_kept
    check "an answer after the upgrade" soon 10 answered
    check "what was stopped stays stopped" stopped_stays_stopped
}

removed() {
    box_sh 'apt-get remove e2ee-keyholder e2ee-hsm-proxy e2ee-hsm-proxy-tools' &&
        not box_sh 'cat /proc/[0-9]*/comm | grep ^e2ee-[hk]' && not box test -e /usr/bin/e2ee-keyholder &&
        box_sh 'test -s /etc/e2ee-keyholder/pin && test -s /etc/e2ee-hsm-proxy.conf && test -d /var/lib/e2ee-keyholder/tokens && test ! -e /run/e2ee-keyholder'
}
back_again() {
    box_sh 'apt-get install /packages-2/*.deb' && box systemctl -q is-enabled "${units[@]}" && box systemctl start "${units[@]}" && soon 10 answered
}
purged() {
    local left
    box_sh 'apt-get purge e2ee-keyholder e2ee-hsm-proxy e2ee-hsm-proxy-tools' || return 1
    left=$(box_sh 'find / -xdev -name "*e2ee*" ! -path "/proc/*" ! -path "/sys/*" ! -path "/packages*" ! -path "/opt/*" ! -path "/var/cache/*" \
        ! -path "/var/lib/apt/*" ! -path "/tmp/*"; find /etc /run -name "*e2ee*"; dpkg -l | grep e2ee; systemctl --all --no-legend list-units "e2ee*"')
    is "$left" "" && users
}
removal() {
    check "removal: stopped and gone; configuration, PIN and token stay" removed
    check "installed again: enabled as before, and runs" back_again
    check "purge: nothing is left but the users" purged
}
