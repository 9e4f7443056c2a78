"""An agent made of stages: who listens, who thinks, who speaks. agentd takes the turns."""
