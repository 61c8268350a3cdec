"""Plug-ins for tests of the harness, addressed as `agemem_fakes.envs:CountEnv`."""
