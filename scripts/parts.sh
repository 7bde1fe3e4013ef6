# shellcheck shell=bash
# The runner of scripts/test and scripts/test_slow, sourced after lib.sh: runs the parts one by one, goes on after a
# failed one, and sums up. A part is a shell function in a subshell. It may write "passed failed skipped" to the file
# $counts; without that it counts as one case by its exit code. 77 means that it could not run here: a failure in
# CI (CI=true), a named skip elsewhere.

logs=${root:?source lib.sh first}/build/test-logs
mkdir -p "$logs"
total_passed=0
total_failed=0
total_skipped=0
failed_parts=
skipped_parts=
only_parts=
beside_name=
beside_pid=
run_started=$(date +%s)

part_wanted() {
    [ -z "$only_parts" ] || [[ " $only_parts " == *" $1 "* ]]
}

# run_part NAME FUNCTION [ARGUMENT...]: what part waits for. Leaves NAME.log, .counts, .status and .seconds in $logs.
run_part() {
    local name=$1 started status=0
    shift
    export counts=$logs/$name.counts
    rm -f "$counts" "$logs/$name.status"
    started=$(date +%s)
    (
        set -euo pipefail
        "$@"
    ) >"$logs/$name.log" 2>&1 </dev/null &
    wait $! || status=$?
    echo "$(($(date +%s) - started))" >"$logs/$name.seconds"
    echo "$status" >"$logs/$name.status"
}

# part NAME FUNCTION [ARGUMENT...]
part() {
    part_wanted "$1" || return 0
    run_part "$@"
    judge_part "$1"
}

# part_beside NAME FUNCTION [ARGUMENT...]: begins it; the next part runs at the same time, then both are judged. For parts that
# mostly wait, on machines that have two cores anyway.
part_beside() {
    part_wanted "$1" || return 0
    run_part "$@" &
    beside_pid=$! beside_name=$1
}

# judge_part NAME: sums up a part that has run, and the one beside it.
judge_part() {
    local name=$1 status passed failed skipped note='' counts=$logs/$1.counts
    status=$(cat "$logs/$name.status")
    if [ -s "$counts" ]; then
        read -r passed failed skipped <"$counts"
        if [ "$status" != 0 ] && [ "$status" != 77 ] && [ "$failed" = 0 ]; then failed=1; fi
        if [ "$((passed + failed + skipped))" = 0 ]; then
            failed=1
            note=' (it ran no case)'
        fi
    else
        passed=0 failed=0 skipped=0
        case "$status" in
        0) passed=1 ;;
        77) skipped=1 ;;
        *) failed=1 ;;
        esac
    fi
    if [ "${CI:-}" = true ] && [ "$skipped" -gt 0 ]; then
        note=" ($skipped could not run, which is a failure in CI)"
        failed=$((failed + skipped))
        skipped=0
    fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
    printf '%-28s %4d s  %d ok, %d bad, %d left out%s\n' "$name" "$(cat "$logs/$name.seconds")" "$passed" "$failed" \
        "$skipped" "$note"
    if [ "$failed" -gt 0 ]; then
        failed_parts="$failed_parts $name"
        sed 's/^/    | /' "$logs/$name.log" | tail -n "${E2EE_LOG_LINES:-60}"
    elif [ "$skipped" -gt 0 ]; then
        skipped_parts="$skipped_parts $name"
        grep -hiE 'skip' "$logs/$name.log" | sort -u | head -5 | sed 's/^/    | /' || true
    fi
    join_beside
}

join_beside() {
    local name=$beside_name
    [ -n "$name" ] || return 0
    beside_name=
    wait "$beside_pid" || true
    judge_part "$name"
}

# Last line of a run. With E2EE_COUNTS the numbers go to that file instead, for the caller's own closing line.
finish_parts() {
    join_beside
    printf '%-28s %4d s\n' 'all parts' "$(($(date +%s) - run_started))"
    [ -z "$skipped_parts" ] || echo "left out in part or whole:$skipped_parts"
    [ -z "$failed_parts" ] || echo "failed parts:$failed_parts (logs in build/test-logs)"
    if [ -n "${E2EE_COUNTS:-}" ]; then
        echo "$total_passed $total_failed $total_skipped" >"$E2EE_COUNTS"
    else
        closing_line "$total_passed" "$total_failed" "$total_skipped"
    fi
    [ "$total_failed" = 0 ] && [ "$total_passed" -gt 0 ]
}

closing_line() {
    if [ "$3" = 0 ]; then
        echo "$1 passed, $2 failed"
    else
        echo "$1 passed, $2 failed, $3 skipped"
    fi
}

# run_ctest DIR LABELS: the cases of a build whose label matches, twice as many at a time as there are cores, for half of them wait
# for tokens that are slow or gone. Fills $counts from ctest's own report.
run_ctest() {
    local report=$logs/junit-${counts##*/}.xml status=0
    rm -f "$report"
    ctest --test-dir "$1" -j "$((2 * ${cores:?}))" -L "$2" --output-on-failure --output-junit "$report" || status=$?
    [ -s "$report" ] || return 1
    python3 - "$report" >"$counts" <<'PY'
import sys
import xml.etree.ElementTree as tree
passed = failed = skipped = 0
for case in tree.parse(sys.argv[1]).getroot().iter("testcase"):
    left_out = case.find("skipped")
    if case.get("status") == "run":
        passed += 1
    elif left_out is not None and left_out.get("message", "").startswith("SKIP_"):
        skipped += 1
    else:  # failed, or its program was not even there
        failed += 1
print(passed, failed, skipped)
PY
    return "$status"
}

# fuzz_all SECONDS: every target for so long, one after another; each counts as one case.
fuzz_all() {
    local seconds=$1 source names passed=0 failed=0 bad=
    names=$(for source in tests/fuzz/fuzz_*.c; do basename "$source" .c; done)
    # shellcheck disable=SC2086
    build_preset fuzz $names
    for source in $names; do
        if E2EE_BUILT=1 scripts/fuzz "$source" "$seconds" >"$logs/$source.log" 2>&1; then
            passed=$((passed + 1))
            grep -h 'stat::number_of_executed_units' "$logs/$source.log" | sed "s/^/$source /" || true
        else
            failed=$((failed + 1))
            bad="$bad $source"
            tail -n 25 "$logs/$source.log"
        fi
    done
    echo "$passed $failed 0" >"$counts"
    [ -z "$bad" ] || echo "failed:$bad (inputs in build-fuzz/crashes)"
}
