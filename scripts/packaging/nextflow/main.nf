// The shifts of a stack: settings are drafted for it, and run. From a workflow:
//   include { STEADYSTACK } from './main'
//   STEADYSTACK(Channel.fromPath('stacks/*').map { [[id: it.simpleName], it] })
// ext.args in a configuration goes to `steadystack init`, such as '--channel nuclei'.
// Exit code 3: the shifts are not to be trusted.
process STEADYSTACK {
    tag "${meta.id}"
    cpus 4
    memory 8.GB
    container 'steadystack'

    input:
    tuple val(meta), path(stack)

    output:
    tuple val(meta), path("*-shifts.zarr"), emit: shifts
    tuple val(meta), path("*-report.html"), emit: report
    tuple val(meta), path("*.yaml"), emit: settings

    script:
    def args = task.ext.args ?: ''
    """
    steadystack init ${args} "${stack}" > "${meta.id}.yaml"
    steadystack check "${meta.id}.yaml"
    steadystack run "${meta.id}.yaml"
    """

    stub:
    """
    mkdir "${meta.id}-shifts.zarr"
    touch "${meta.id}-report.html" "${meta.id}.yaml"
    """
}
