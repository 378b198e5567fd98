# One workflow at a time works in the folder of an experiment, and no file there is of the future.
from userbench.workflow.alone import check_times, claim

HELD = []
if workflow.is_main_process:
    or_stop(check_times, Path(OUT))


onstart:
    HELD.append(or_stop(claim, Path(OUT)))
