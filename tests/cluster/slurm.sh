#!/usr/bin/env bash
# A SLURM cluster of this one machine, on loopback, for tests. Needs root and Debian's packages
# munge, slurmctld, slurmd and slurm-client; no systemd, no cgroups, no accounting.
#   slurm.sh up DIR      start it in DIR, which everybody must be able to enter;
#                        afterwards: export SLURM_CONF=DIR/slurm.conf
#   slurm.sh down DIR    cancel its jobs and stop it
set -euo pipefail
action=$1
dir=$(realpath -m "$2")
export SLURM_CONF=$dir/slurm.conf

daemon() { # NAME COMMAND...: in the background, in a session of its own
  setsid "${@:2}" >"$dir/$1.out" 2>&1 </dev/null &
  echo $! >"$dir/$1.pid"
}

wait_for() { # SECONDS WHAT COMMAND...: until the command succeeds
  for ((i = 0; i < $1 * 5; i++)); do
    if "${@:3}" >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  echo "slurm.sh: no $2 after $1 s" >&2
  tail -n 30 "$dir"/*.out "$dir"/*.log >&2 || true
  down
  exit 1
}

stopped() { ! kill -0 "$1" 2>/dev/null; }

down() {
  timeout 10 scancel --user "$(id -un)" 2>/dev/null || true
  for name in slurmd slurmctld munged; do
    [ -f "$dir/$name.pid" ] || continue
    pid=$(<"$dir/$name.pid")
    rm "$dir/$name.pid"
    kill "$pid" 2>/dev/null || continue
    for ((i = 0; i < 50; i++)); do
      if stopped "$pid"; then break; fi
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  done
}

configure() {
  local host ports memory
  host=$(hostname -s)
  mapfile -t ports < <(shuf -i 20000-32000 -n 2)
  memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
  cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=root
# A requeued job waits for as long as the credential of its earlier run is valid: 120 s by default.
AuthInfo=socket=$dir/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.own.pid
SlurmdPidFile=$dir/slurmd.own.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
ReturnToService=2
KillWait=10
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES DefMemPerCPU=500 MaxTime=INFINITE State=UP
END
}

up() {
  mkdir -p "$dir/state" "$dir/spool"
  (umask 077 && head -c 1024 /dev/urandom >"$dir/munge.key")
  daemon munged munged --foreground --key-file="$dir/munge.key" --socket="$dir/munge.socket" \
    --pid-file="$dir/munged.own.pid" --log-file="$dir/munged.log" --seed-file="$dir/munge.seed"
  wait_for 20 "munge credential" munge --no-input --socket="$dir/munge.socket"
  configure
  daemon slurmctld slurmctld -D
  daemon slurmd slurmd -D
  wait_for 60 "idle node" bash -c "sinfo --noheader --Node --format %T | grep -q idle"
}

"$action"
