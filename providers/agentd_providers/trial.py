"""An agent opened for itself alone, outside a daemon: to find out how long its engines take on this host."""

import trio

from agentd import deadlines
from agentd.config.settings import AgentConfig
from agentd.errors import ProviderUnavailable, ungrouped
from agentd_providers.registry import find_provider
from agentd_providers.rehearsal import Rehearsal

REHEARSAL_WITHIN = deadlines.DOCTOR_REHEARSAL.seconds


async def rehearse(name: str, config: AgentConfig) -> Rehearsal | None:
    """Open the agent's engines as a daemon would, have them begin some answers, and close them again; None where its
    provider has no way to. Loads models, and asks the vendors of its stages.

    Raises ProviderError, ConfigError where a key is missing, and whatever else a stranger's provider may. Cancelling it
    closes what was opened.
    """
    provider = find_provider(config.provider)
    if provider.rehearse is None:
        return None
    from agentd_providers.shared import SharedServices

    with ungrouped(Exception), trio.move_on_after(REHEARSAL_WITHIN):
        async with trio.open_nursery() as nursery:
            async with provider.open(name, config, SharedServices(nursery)) as agent:
                rehearsal = await provider.rehearse(agent)
            nursery.cancel_scope.cancel()
        return rehearsal
    raise ProviderUnavailable(f"no answers from the engines of {name} within {REHEARSAL_WITHIN:g} s")
