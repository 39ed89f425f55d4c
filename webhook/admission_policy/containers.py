"""Which containers get the identity, in which volumes the token is, and where each container sees it."""

from typing import Final

from azure_workload_identity import names
from webhook.admission import values
from webhook.admission.layout import ONE_VOLUME, TWO_VOLUMES, TokenMount
from webhook.admission.mounts import READ_ONLY_SOURCES
from webhook.admission_policy.cel import Variable, code, variable


def _mount(mount: TokenMount) -> dict[str, str]:
    return {
        "volume": mount.volume,
        "directory": mount.directory,
        "otherSpelling": mount.directory.removeprefix("/var"),
        "token": mount.token,
    }


def _names(key: str) -> str:
    return f"""
        variables.annotations[?@{key}].orValue('').replace(',', ';').split(';')
        .map(name, name.trim()).filter(name, name != '')
        """


_UPSTREAM: Final = {
    "volume": code("variables.upstreamVolume"),
    "directory": code("variables.upstreamDirectory"),
    "otherSpelling": code("variables.upstreamDirectory.substring(4)"),
    "token": names.V160_TOKEN_FILE,
}
# Mounts at other paths are in no token's way. A few more match, for the sake of one short expression.
_NEAR: Final = (
    "^[/.]*((var/[/.]*)?(run[/.]*)?|(var/[/.]*)?run/[/.]*secrets[/.]*|(var/[/.]*)?run/[/.]*secrets/[/.]*azure([/.].*)?"
    f"|{names.FALLBACK_DIRECTORY.strip('/')}([/.].*)?)$"
)
_VARIABLE_PREFIX: Final = "AZURE_"

SELECTION: Final[tuple[Variable, ...]] = (
    variable("injectContainers", "The containers that an annotation selects; none: all.", _names("INJECT_CONTAINERS")),
    variable("skipContainers", "The containers that an annotation leaves out.", _names("SKIP_CONTAINERS")),
    variable(
        "containers",
        "The pod's containers. A pod without any, which the API server refuses later, has null.",
        "object.spec.containers == null ? [] : object.spec.containers",
    ),
    variable(
        "allContainers",
        "All containers of the pod, init containers first.",
        "object.spec.?initContainers.orValue([]) + variables.containers",
    ),
    variable("containerNames", "Their names.", "variables.allContainers.map(own, own.name)"),
    variable("volumes", "The pod's volumes.", "object.spec.?volumes.orValue([])"),
    variable(
        "isUsual",
        "Whether the pod is the usual one: it asks for nothing, and nothing of its own is in the identity's way.",
        """
        variables.annotations.all(key, !key.startsWith(@PREFIX))
        && variables.volumes.all(volume, volume.name != @DOCUMENTED_VOLUME && !volume.name.startsWith(@VOLUME_PREFIX))
        && variables.allContainers.all(
          own,
          !own.name.startsWith(@PROXY_CONTAINER)
          && own.?env.orValue([]).all(entry, !entry.name.startsWith(@VARIABLES))
          && own.?volumeMounts.orValue([]).all(mount, !mount.mountPath.matches(@NEAR))
          && !has(own.volumeDevices)
        )
        """,
        VARIABLES=_VARIABLE_PREFIX,
        NEAR=_NEAR,
    ),
    variable(
        "proxyIsRequested",
        "Whether the pod asks for the proxy.",
        "variables.annotations[?@INJECT_PROXY].orValue('').lowerAscii() in @TRUE",
        TRUE=values.TRUE,
    ),
    variable(
        "selected",
        "The names of those that get the identity: a proxy that the pod has already always, its init container never.",
        """
        variables.isUsual ? variables.containerNames : variables.containerNames.filter(
          name,
          name != @PROXY_INIT_CONTAINER && (
            (name == @PROXY_CONTAINER && variables.proxyIsRequested)
            || (
              (variables.injectContainers.size() == 0 || name in variables.injectContainers)
              && !(name in variables.skipContainers)
            )
          )
        )
        """,
    ),
)

LAYOUT: Final[tuple[Variable, ...]] = (
    variable(
        "isFormerLayout",
        "Whether the pod has the one volume of a former version, with both paths.",
        """
        !variables.isUsual && variables.volumes.exists(
          volume,
          volume.name == @VOLUME && volume.?projected.?sources.orValue([]).exists(
            source, source.?serviceAccountToken.?path.orValue('') == @TOKEN_FILE
          )
        )
        """,
    ),
    variable(
        "upstreamVolume",
        "The volume that v1.6.0 or v1.6.1 has put into the pod under a name with a hash, empty for none.",
        """
        variables.isUsual || variables.volumes.exists(volume, volume.name == @VOLUME) ? '' : (
          [''] + variables.volumes.filter(
            volume,
            volume.name.startsWith(@VOLUME_PREFIX) && volume.?projected.?sources.orValue([]).exists(
              source, source.?serviceAccountToken.?path.orValue('') == @V160_TOKEN_FILE
            )
          ).map(volume, string(volume.name))
        ).reverse()[0]
        """,
    ),
    variable(
        "upstreamDirectory",
        "The directory at which it is mounted: v1.6.1's has a name with a hash, too.",
        """
        (
          variables.allContainers.map(
            own,
            own.?volumeMounts.orValue([]).filter(
              mount,
              mount.name == variables.upstreamVolume && !has(mount.subPath) && !has(mount.subPathExpr)
              && mount.mountPath.startsWith(@BELOW)
            ).map(mount, string(mount.mountPath))
          ).flatten() + [@V160_DIRECTORY]
        )[0]
        """,
        BELOW=names.V160_DIRECTORY + "/",
    ),
    variable(
        "needsSecondVolume",
        "Whether the pod needs files that v1.6.0's volume does not have.",
        "variables.secondAudience != '' || (variables.proxy.caConfigMap != '' && variables.getsProxy)",
    ),
    variable(
        "mounts",
        "Where a container has the token, in order.",
        """
        variables.isFormerLayout ? @ONE_VOLUME
        : variables.upstreamVolume == '' ? @TWO_VOLUMES
        : variables.needsSecondVolume ? @UPSTREAM_AND_SECOND
        : @UPSTREAM
        """,
        ONE_VOLUME=[_mount(mount) for mount in ONE_VOLUME.mounts],
        TWO_VOLUMES=[_mount(mount) for mount in TWO_VOLUMES.mounts],
        UPSTREAM_AND_SECOND=[_UPSTREAM, _mount(TWO_VOLUMES.preferred)],
        UPSTREAM=[_UPSTREAM],
    ),
    variable(
        "preferred",
        "The mount whose token AZURE_FEDERATED_TOKEN_FILE names, unless something is in its way.",
        "variables.mounts[variables.isFormerLayout || variables.upstreamVolume != '' ? 0 : 1]",
    ),
    variable(
        "fallback",
        "The mount of a container in which the others have no room.",
        """
        variables.isFormerLayout ? @ONE_VOLUME
        : variables.upstreamVolume == '' || variables.needsSecondVolume ? @TWO_VOLUMES
        : @UPSTREAM
        """,
        ONE_VOLUME=_mount(ONE_VOLUME.fallback),
        TWO_VOLUMES=_mount(TWO_VOLUMES.fallback),
        UPSTREAM={**_UPSTREAM, "directory": names.FALLBACK_DIRECTORY, "otherSpelling": names.FALLBACK_DIRECTORY},
    ),
)

PLACEMENT: Final[tuple[Variable, ...]] = (
    variable(
        "targets",
        "The containers that get the identity, with their JSON pointers, init containers first.",
        """
        object.spec.?initContainers.orValue([]).transformList(
          index, own, own.name in variables.selected,
          {'pointer': dyn('/spec/initContainers/' + string(index)), 'container': dyn(own)}
        )
        + variables.containers.transformList(
          index, own, own.name in variables.selected,
          {'pointer': dyn('/spec/containers/' + string(index)), 'container': dyn(own)}
        )
        """,
    ),
    variable("allPlaces", "All mounts of the token.", "variables.mounts + [variables.fallback]"),
    variable(
        "ownVariables",
        "For each of them, those of its own variables that SDKs of Azure read.",
        """
        variables.targets.map(
          target, target.container.?env.orValue([]).filter(entry, entry.name.startsWith(@PREFIX))
        )
        """,
        PREFIX=_VARIABLE_PREFIX,
    ),
    variable(
        "readOnlyVolumes",
        "The pod's volumes below which a kubelet cannot make a mount point.",
        """
        variables.volumes.filter(
          volume,
          volume.exists(kind, kind in @SOURCES || (kind != 'name' && volume[kind].?readOnly.orValue(false)))
        ).map(volume, volume.name)
        """,
        SOURCES=READ_ONLY_SOURCES,
    ),
    variable(
        "ownMounts",
        "For each of them, its own mounts and devices near the token's directories.",
        """
        variables.targets.map(
          target,
          (
            target.container.?volumeMounts.orValue([]).filter(mount, mount.mountPath.matches(@NEAR)).map(mount, {
              'path': dyn('/' + mount.mountPath.split('/').filter(part, part != '' && part != '.').join('/')),
              'volume': dyn(mount.name),
              'isWhole': dyn(!has(mount.subPath) && !has(mount.subPathExpr)),
              'isReadOnly': dyn(mount.?readOnly.orValue(false) || mount.name in variables.readOnlyVolumes)
            })
            + target.container.?volumeDevices.orValue([]).filter(device, device.devicePath.matches(@NEAR)).map(device, {
              'path': dyn('/' + device.devicePath.split('/').filter(part, part != '' && part != '.').join('/')),
              'volume': dyn(''),
              'isWhole': dyn(false),
              'isReadOnly': dyn(false)
            })
          )
        )
        """,
        NEAR=_NEAR,
    ),
    variable(
        "present",
        "For each of them, the directories at which the token is mounted already.",
        """
        variables.ownMounts.map(
          own,
          own.size() == 0 ? [] : variables.allPlaces.filter(
            place, own.exists(mount, mount.isWhole && mount.volume == place.volume && mount.path == place.directory)
          ).map(place, place.directory)
        )
        """,
    ),
    variable(
        "blocked",
        "For each of them, the directories that its own mounts block: at or below one, or above it and read-only.",
        """
        variables.ownMounts.map(
          own,
          own.size() == 0 ? [] : variables.allPlaces.filter(
            place,
            own.exists(
              mount,
              !(mount.isWhole && mount.volume == place.volume && mount.path == place.directory)
              && [place.directory + '/', place.otherSpelling + '/'].exists(
                directory,
                (mount.path + '/').startsWith(directory)
                || (mount.isReadOnly && (mount.path == '/' || directory.startsWith(mount.path + '/')))
              )
            )
          ).map(place, place.directory)
        )
        """,
    ),
    variable(
        "free",
        "For each of them, where it has room for the token.",
        """
        variables.targets.transformList(
          index, target,
          variables.ownMounts[index].size() == 0 ? variables.mounts : variables.mounts.filter(
            place,
            place.directory in variables.present[index] || !(place.directory in variables.blocked[index])
          )
        )
        """,
    ),
    variable(
        "needsFallback",
        "For each of them, whether it needs the fallback: for the token, or for the second one.",
        """
        variables.free.map(
          places,
          places.size() == 0
          || (variables.secondAudience != '' && !places.exists(place, place.volume == variables.fallback.volume))
        )
        """,
    ),
    variable(
        "hasNoRoom",
        "For each of them, whether the fallback is blocked, too. Such a pod is refused.",
        """
        variables.needsFallback.transformList(
          index, isNeeded,
          isNeeded
          && variables.fallback.directory in variables.blocked[index]
          && !(variables.fallback.directory in variables.present[index])
        )
        """,
    ),
    variable(
        "places",
        "For each of them, where it has the token in the end.",
        """
        variables.free.transformList(
          index, places,
          places + (variables.needsFallback[index] && !variables.hasNoRoom[index] ? [variables.fallback] : [])
        )
        """,
    ),
)
