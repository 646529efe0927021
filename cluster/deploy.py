"""Deploys an installation onto a running Ray cluster: two applications, the stages children of the private one."""

import logging
from typing import Any

import ray
from ray import serve as ray_serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, HTTPOptions
from ray.serve.schema import LoggingConfig

from cluster import topology
from cluster.head import GRACE_S
from cluster.replica import PrivateApi, PublicApi, StageWorker
from cluster.scaling import log_facts
from cluster.settings import Settings

#: Requests one API replica works on at once; more wait in HAProxy.
_MAX_ONGOING = 1_000

#: Logical CPUs are admission control only.
_NO_CPUS = {"num_cpus": 0}


def connect(address: str) -> None:
    """Join the cluster as a driver; raises `ConnectionError` while it does not answer."""
    ray.init(
        address=address, namespace="serve", log_to_driver=False, logging_level=logging.ERROR, configure_logging=False
    )


def deploy(settings: Settings) -> None:
    """Start or update everything; returns when it runs."""
    ray_serve.start(
        http_options=HTTPOptions(host=settings.host, port=settings.port, keep_alive_timeout_s=60),
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )
    plan = topology.plan(settings)
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    ray_serve.run_many(
        [
            ray_serve.RunTarget(_public(settings, plan), name="public", route_prefix="/", logging_config=quiet),
            ray_serve.RunTarget(_private(settings, plan), name="private", route_prefix="/api", logging_config=quiet),
        ]
    )


def _options(**more: Any) -> dict[str, Any]:
    return {
        "ray_actor_options": dict(_NO_CPUS),
        "health_check_period_s": 1,
        "health_check_timeout_s": 5,  # three times in a row: what hangs is replaced after some 20 s
        "graceful_shutdown_timeout_s": GRACE_S,
        "graceful_shutdown_wait_loop_s": 0.1,
        **more,
    }


def _public(settings: Settings, plan: topology.Plan) -> Any:
    ingress = ray_serve.ingress()(PublicApi)
    options = _options(name="public", max_ongoing_requests=_MAX_ONGOING, num_replicas=1)
    return ray_serve.deployment(ingress).options(**options).bind(settings, plan.in_api)


def _private(settings: Settings, plan: topology.Plan) -> Any:
    workers = {name: _worker(settings, name, stages) for name, stages in plan.workers.items()}
    ingress = ray_serve.ingress()(PrivateApi)
    options = _options(name="private", max_ongoing_requests=_MAX_ONGOING, num_replicas=1)
    return ray_serve.deployment(ingress).options(**options).bind(settings, workers)


def _worker(settings: Settings, name: str, stages: tuple[str, ...]) -> Any:
    least, most = topology.bounds(settings.layout, stages, settings.partitions)
    policy = AutoscalingPolicy(
        policy_function="cluster.scaling:BacklogPolicy",
        policy_kwargs={
            "of_log": log_facts(settings),
            "layout": settings.layout,
            "scale_records": settings.scale_records,
            "stages": list(stages),
        },
    )
    scaling = AutoscalingConfig(
        min_replicas=least, max_replicas=most, upscale_delay_s=1.0, downscale_delay_s=30.0, policy=policy
    )
    options = _options(name=name, autoscaling_config=scaling)
    return ray_serve.deployment(StageWorker).options(**options).bind(settings, name, stages)
