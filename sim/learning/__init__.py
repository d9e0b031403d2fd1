"""Reinforcement learning for any environment: PPO, which knows neither gait nor imitation."""
