# One workflow at a time works in the folder of an experiment, and no file there is of the future; a
# lost connection ends it as SIGTERM does.
from userbench.workflow.alone import check_times, claim, end_on_hang_up

end_on_hang_up()
HELD = []
if workflow.is_main_process:
    or_stop(check_times, Path(OUT))


onstart:
    HELD.append(or_stop(claim, Path(OUT)))
