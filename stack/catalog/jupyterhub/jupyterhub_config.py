"""JupyterHub on Kubernetes, for one small team on one cluster.

Everything secret comes from the environment, which the Deployment takes from
Secrets that are made once per cluster. It holds for JupyterHub 5.5 and 6.1
with KubeSpawner 7.
"""

import os

c = get_config()  # noqa: F821 (JupyterHub puts it there)

# Where the parts find each other. The proxy is a Deployment of its own, so
# that running servers stay reachable while the hub restarts.
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.bind_url = "http://:8000"
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:8001"
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False

# State that outlives the hub's pod.
c.JupyterHub.db_url = "sqlite:////srv/jupyterhub/state/jupyterhub.sqlite"
c.JupyterHub.upgrade_db = True
c.JupyterHub.cookie_secret = bytes.fromhex(os.environ["HUB_COOKIE_SECRET"])
c.CryptKeeper.keys = [os.environ["HUB_CRYPT_KEY"]]

# Who may come in: the login user, and users made over the API. One password.
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["HUB_LOGIN_PASSWORD"]
c.Authenticator.allowed_users = {os.environ["HUB_LOGIN_USER"]}
c.Authenticator.allow_existing_users = True

# kfdev itself makes users, starts and stops servers, and looks into them.
c.JupyterHub.services = [{"name": "kfdev", "api_token": os.environ["HUB_API_TOKEN"]}]
c.JupyterHub.load_roles = [
    {
        "name": "kfdev",
        "services": ["kfdev"],
        "scopes": ["admin:users", "admin:servers", "access:servers", "read:hub"],
    }
]

# A user's server: a pod with the notebook image, by digest, and a volume that
# stays when the server stops and goes when the user is deleted.
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.allow_named_servers = True
# A start is answered at once and followed on its page, however long the image takes.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.Spawner.cmd = ["jupyterhub-singleuser"]
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 600
c.Spawner.http_timeout = 180
c.KubeSpawner.namespace = os.environ["POD_NAMESPACE"]
c.KubeSpawner.image = os.environ["NOTEBOOK_IMAGE"]
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.uid = 1000
c.KubeSpawner.fs_gid = 100
c.KubeSpawner.allow_privilege_escalation = False
c.KubeSpawner.container_security_context = {
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
c.KubeSpawner.enable_user_namespaces = False
c.KubeSpawner.cpu_guarantee = 0.05
c.KubeSpawner.mem_guarantee = "192M"
c.KubeSpawner.extra_resource_limits = {"memory": os.environ["NOTEBOOK_MEMORY"]}
c.KubeSpawner.working_dir = "/home/jovyan"
c.KubeSpawner.environment = {"HOME": "/home/jovyan"}
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.storage_capacity = os.environ["NOTEBOOK_STORAGE"]
c.KubeSpawner.storage_access_modes = ["ReadWriteOnce"]
c.KubeSpawner.volumes = {
    "home": {"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}
}
c.KubeSpawner.volume_mounts = {"home": {"name": "home", "mountPath": "/home/jovyan"}}
