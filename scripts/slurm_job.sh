#!/usr/bin/env bash
# A run of steadystack as a Slurm job. Submit it where `steadystack` is on the PATH:
#
#   sbatch --ntasks=9 --mem-per-cpu=4G scripts/slurm_job.sh run.yaml
#       One job: the run and its Dask scheduler beside workers in all other tasks.
#
#   sbatch --array=1-16 --cpus-per-task=4 --mem-per-cpu=4G scripts/slurm_job.sh run.yaml
#       Sixteen jobs, each of which measures its part of the batches with four workers and waits for
#       no other; then, in a job of its own (or by hand), what gathers them and goes on:
#   sbatch --dependency=afterok:JOB scripts/slurm_job.sh run.yaml
#
#   sbatch --array=1-16 --cpus-per-task=4 --mem-per-cpu=4G scripts/slurm_job.sh plate.yaml 16
#       Many inputs: sixteen jobs, each of which runs its share of them. Then, for one table of all:
#       steadystack run plate.yaml
#
# A job that was stopped goes on where it was if it is submitted again.
#SBATCH --job-name=steadystack
#SBATCH --output=steadystack-%j.log
set -euo pipefail
config=${1:?usage: sbatch [options] slurm_job.sh CONFIG [SHARES]}
export OMP_NUM_THREADS=1
# Nothing that lies in the working folder is imported in place of a library of the same name.
export PYTHONSAFEPATH=1

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    if [ -n "${2:-}" ]; then
        exec steadystack run "$config" --inputs "$SLURM_ARRAY_TASK_ID/$2"
    fi
    if [ "$SLURM_ARRAY_TASK_COUNT" = 1 ]; then
        echo "one task alone does not know its part: submit the whole array again, in which tasks" \
            "that are done end at once; or, to measure all, submit without --array" >&2
        exit 2
    fi
    part=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))
    exec steadystack measure "$config" --batches "$part/$SLURM_ARRAY_TASK_COUNT"
fi
if [ -n "${2:-}" ]; then
    echo "$2 shares are for an array of jobs: sbatch --array=1-$2 slurm_job.sh $config $2" >&2
    exit 2
fi
workers=$((${SLURM_NTASKS:-1} - 1))
if [ "$workers" -lt 1 ]; then
    exec steadystack run "$config"
fi

# Scheduler, workers and run know each other by a certificate made for this job: others are on the
# network, and who reaches a scheduler can run code. The folder is one that all nodes see.
folder=$(mktemp -d "$PWD/steadystack-job-$SLURM_JOB_ID.XXXX")
trap 'kill "${pids[@]}" 2>/dev/null || true; wait || true; rm -rf "$folder"' EXIT
pids=()
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=steadystack-$SLURM_JOB_ID" \
    -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>"$folder/openssl.log"
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__COMM__TLS__CA_FILE="$folder/cert.pem"
for role in SCHEDULER WORKER CLIENT; do
    export "DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$folder/cert.pem"
    export "DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$folder/key.pem"
done
# Which task is tried again after the death of a worker is the run's to say; a host without a sign
# is lost after so long; workers that use much memory go on until they are ended.
export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0
export DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=15s
export DASK_DISTRIBUTED__WORKER__MEMORY__{TARGET,SPILL,PAUSE}=False
export MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_THRESHOLD_=1073741824

memory=auto
if [ -n "${SLURM_MEM_PER_CPU:-}" ]; then
    memory="$((SLURM_MEM_PER_CPU * ${SLURM_CPUS_PER_TASK:-1}))MiB"
fi
dask scheduler --protocol tls --port 0 --dashboard-address 127.0.0.1:0 \
    --scheduler-file "$folder/scheduler.json" >"$folder/scheduler.log" 2>&1 &
pids+=($!)
srun --overlap --ntasks="$workers" dask worker --protocol tls --nthreads 1 --no-dashboard \
    --memory-limit "$memory" --local-directory "${TMPDIR:-/tmp}" --death-timeout 60 \
    --scheduler-file "$folder/scheduler.json" >"$folder/workers.log" 2>&1 &
pids+=($!)
steadystack run "$config" --scheduler-file "$folder/scheduler.json"
