# `make help` lists the targets. `make run` and `make test` need only Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
CLUSTER_BIN := $(or $(KUBEBUILDER_ASSETS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/azwi/cluster/bin)
export KUBEBUILDER_ASSETS := $(CLUSTER_BIN)

.PHONY: help run test flaky check lint types contracts workflows coverage cases docs man transcripts doctor-setups scan cluster-tools client-tools fuzz fuzz-http fuzz-proxy bench bench-scale bench-large bench-burst bench-versus bench-engines engine-faults engine-faults-node api-servers chaos bench-proxy attacks entra bench-azwi bench-sync node-tools e2e migration soak node lock clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

# One environment. A stamp means that at least the packages of that lock are installed.
.venv/run.stamp: requirements/run.txt pyproject.toml scripts/venv.sh
	@scripts/venv.sh run
	@touch $@
.venv/test.stamp: requirements/test.txt pyproject.toml scripts/venv.sh
	@scripts/venv.sh test
	@touch $@ .venv/run.stamp
.venv/dev.stamp: requirements/dev.txt pyproject.toml scripts/venv.sh
	@scripts/venv.sh dev
	@touch $@ .venv/test.stamp .venv/run.stamp

run: .venv/run.stamp ## start the server without a cluster and send it an example pod
	@exec $(PY) -m webhook.runtime.demo

# The tests start some hundred Python programs, which would compile all they import where the environment forbids bytecode.
test flaky: export PYTHONDONTWRITEBYTECODE =
test: .venv/test.stamp ## run all tests; those on a real kube-apiserver or node are skipped before make cluster-tools, node-tools
	@$(PY) -m pytest -q --part=quick --numprocesses=3 --dist=worksteal $(PYTEST); quick=$$?; \
	$(PY) -m pytest -q --part=slow --numprocesses=2 --no-loadscope-reorder $(PYTEST); slow=$$?; \
	case $$quick$$slow in 00|05|50) ;; *) exit 1 ;; esac  # 5: pytest selected no test in this half

flaky: .venv/test.stamp ## run the quick tests RUNS times (30), and LOADED_RUNS (10) beside busy loops
	@$(PY) -m tests.repeat $(or $(RUNS),30) $(or $(LOADED_RUNS),10)

check: lint types contracts workflows ## check lint, types, import contracts and the workflows

lint: .venv/dev.stamp
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

types: .venv/dev.stamp
	@.venv/bin/mypy

workflows: .venv/dev.stamp
	@.venv/bin/zizmor --offline --quiet --no-progress --persona=pedantic .
	@if command -v go >/dev/null; then go -C .github/actionlint tool actionlint $(CURDIR)/.github/workflows/*.yaml; \
	else echo "actionlint was left out, because there is no go on PATH"; fi

contracts: .venv/dev.stamp
	@.venv/bin/lint-imports --no-cache

coverage: .venv/test.stamp ## measure branch coverage of webhook/admission, at least 95 %
	@$(PY) -m coverage run -m pytest -q tests/webhook/admission tests/test_cases.py
	@$(PY) -m coverage report --include='webhook/admission/*' --fail-under=95

cases: .venv/test.stamp ## rewrite the golden cases with the present behaviour; read the diff
	@$(PY) -m pytest -q tests/test_cases.py --update-cases

docs: .venv/run.stamp ## generate the pages of the manual that come from the code
	@$(PY) -m scripts.write_settings
	@$(PY) -m scripts.write_entra_errors
	@$(PY) -m scripts.write_explanations
	@$(PY) -m scripts.write_values
	@$(PY) -m scripts.write_values_schema
	@$(PY) -m scripts.write_values_defaults
	@$(PY) -m scripts.write_policy
	@$(PY) -m scripts.write_azwi
	@$(PY) -m scripts.write_diagram
	@$(PY) -m scripts.write_plots

man: .venv/run.stamp ## man pages of azwi into MAN (dist/man)
	@$(PY) -m scripts.write_man $(or $(MAN),dist/man)

transcripts: .venv/test.stamp ## draw azwi doctor on a healthy and a broken cluster for the manual (needs make cluster-tools)
	@$(PY) -m scripts.write_transcripts

.PHONY: dashboard
dashboard: .venv/test.stamp ## record the Grafana dashboard's queries with a real API server and Prometheus, and draw it (Debian: prometheus)
	@$(PY) -m scripts.record_dashboard
	@$(PY) -m scripts.write_plots

doctor-setups: .venv/test.stamp ## try every fix of azwi doctor on a real API server and write the page of them (as above)
	@rm -f .venv/doctor-rows && DOCTOR_ROWS=.venv/doctor-rows REQUIRE_CLUSTER=1 $(PY) -m pytest -q tests/cluster/doctor \
	  tests/cluster/test_other_clusters.py::test_policies_not_served
	@$(PY) -m scripts.write_doctor_setups .venv/doctor-rows

scan: .venv/run.stamp ## check the rendered chart with checkov (in .venv-scan; a minute the first time)
	@CLUSTER_BIN=$(CLUSTER_BIN) scripts/scan.sh

cluster-tools: .venv/run.stamp ## build or unpack kube-apiserver, kubectl and helm for the cluster tests into a cache, once
	@PYTHON=$(PY) bash tests/cluster/tools/build.sh

# Without admission policies, which need the newest API server.
.PHONY: test-kubernetes
KUBERNETES_TESTS := $(addprefix test_,$(addsuffix .py,injection issuer opt_in quickstarts refusals reinvocation))
test-kubernetes: .venv/test.stamp ## test the webhook on the API server in KUBEBUILDER_ASSETS, which may be of another version (KUBERNETES=v1.31.14 make cluster-tools)
	@REQUIRE_CLUSTER=1 $(PY) -m pytest -q $(addprefix tests/cluster/,$(KUBERNETES_TESTS))

client-tools: .venv/run.stamp ## build the clients of other languages for tests/clients into the same cache, once
	@PYTHON=$(PY) bash tests/clients/build.sh

node-tools: .venv/run.stamp ## build the other programs of a node for the end-to-end tests into the same cache, once
	@PYTHON=$(PY) bash tests/cluster/tools/build.sh kube-controller-manager kube-scheduler kubelet kube-proxy pause

e2e: .venv/test.stamp ## test the whole path on a Kubernetes node of its own: image, chart, pods that get tokens (needs root)
	@$(PY) -m tests.e2e.needs
	@REQUIRE_E2E=1 $(PY) -m pytest -q tests/e2e --durations=0 --durations-min=1

migration: .venv/test.stamp ## from v1.6.0 to this webhook and back on such a node, MIGRATION_RUNS (3) times, with a table of what was refused
	@$(PY) -m tests.e2e.needs
	@REQUIRE_E2E=1 MIGRATION_RUNS=$(or $(MIGRATION_RUNS),3) $(PY) -m pytest -q tests/e2e/test_migration.py

soak: .venv/test.stamp ## create pods for SOAK_MINUTES (60) on such a node, with rotations, rollouts and kills, into dist/soak
	@$(PY) -m tests.e2e.soak --minutes $(or $(SOAK_MINUTES),60)

chaos: .venv/test.stamp ## what goes wrong on a node while pods are created, each for CHAOS_SECONDS (15): a table (needs root and a C compiler)
	@$(PY) -m tests.e2e.needs chaos
	@REQUIRE_E2E=1 CHAOS_SECONDS=$(or $(CHAOS_SECONDS),15) $(PY) -m pytest -q tests/e2e/test_chaos.py

node: .venv/test.stamp ## run such a node in the foreground, with the image and an emulated Entra, to try things by hand
	@exec $(PY) -m tests.e2e $(NODE)

entra: .venv/test.stamp ## run an emulator of Microsoft Entra's token endpoint on loopback, to try a token exchange
	@exec $(PY) -m testbed.entra $(ENTRA)

fuzz: .venv/test.stamp ## fuzz admission with FUZZ_REVIEWS bodies (1,000,000), of SEED if given
	@$(PY) -m tests.fuzz_review $(or $(FUZZ_REVIEWS),1000000) $(SEED)

fuzz-http: .venv/test.stamp ## fuzz the ports of a server with FUZZ_STREAMS streams each (200,000), of SEED if given
	@for port in webhook health metrics; do $(PY) -m tests.fuzz_http $$port $(or $(FUZZ_STREAMS),200000) $(SEED) || exit 1; done

fuzz-proxy: .venv/test.stamp ## fuzz the proxy with FUZZ_STREAMS streams (200,000), of SEED if given
	@$(PY) -m tests.fuzz_proxy $(or $(FUZZ_STREAMS),200000) $(SEED)

bench: .venv/test.stamp ## measure an admission against the least possible work (needs wrk)
	@$(PY) -m bench.webhook $(BENCH)

bench-scale: .venv/test.stamp ## measure 1,000 to 50,000 ServiceAccounts in a real API server (needs make cluster-tools)
	@$(PY) -m bench.scale $(BENCH)

bench-large: .venv/test.stamp ## measure 100,000 and 500,000 ServiceAccounts, 10,000 namespaces, 5,000 nodes, 2,000 pods a minute (as above)
	@$(PY) -m bench.large $(BENCH)

bench-burst: .venv/test.stamp ## measure a burst of 3,000 pods through a real API server (needs make cluster-tools)
	@$(PY) -m bench.burst $(BENCH)

bench-versus: .venv/test.stamp ## measure the webhook of A_BINARY and this one in turns (needs make cluster-tools and wrk)
	@$(PY) -m bench.versus $(BENCH)

bench-engines: .venv/test.stamp ## measure a creation by webhook, by policy and by both (needs make cluster-tools and wrk)
	@$(PY) -m bench.engines $(BENCH)

engine-faults: .venv/test.stamp ## count the creations that fail by engine while the webhook or an API server is away (needs make cluster-tools)
	@$(PY) -m bench.engine_faults $(BENCH)

engine-faults-node: .venv/test.stamp ## the same on a node of its own, where the webhook's pods or the way to them are away for 60 s (needs root)
	@$(PY) -m tests.e2e.needs
	@REQUIRE_E2E=1 ENGINE_FAULT_SECONDS=60 $(PY) -m pytest -q tests/e2e/test_engines.py

api-servers: .venv/test.stamp ## three API servers behind a load balancer, killed, paused and without a leader of etcd, while pods are created: a table
	@REQUIRE_CLUSTER=1 API_SERVER_SECONDS=$(or $(API_SERVER_SECONDS),15) $(PY) -m pytest -q -s tests/cluster/test_api_servers.py

bench-proxy: .venv/test.stamp ## measure the proxy: memory, start-up, a cached token (needs wrk)
	@$(PY) -m bench.proxy $(BENCH)

attacks: .venv/test.stamp ## measure what each attack costs a server; ATTACKS="--before TREE" compares with another tree
	@$(PY) -m bench.attacks $(ATTACKS)

bench-azwi: .venv/run.stamp ## measure the CPU time of azwi commands against a bare interpreter
	@$(PY) -m bench.azwi

bench-sync: .venv/test.stamp ## measure azwi sync for 1,000 ServiceAccounts over 60 identities
	@$(PY) -m bench.sync

lock: ## resolve requirements/*.txt again (needs uv)
	@sh scripts/lock.sh

.PHONY: image sbom dist
image: ## build the image IMAGE (azwi:VERSION) with docker, podman or buildah; BASE, BUILD_BASE, FLAGS (see docs/install/image.md)
	@sh scripts/image.sh $(FLAGS)

sbom: .venv/run.stamp ## write the bill of materials of the image in the file ARCHIVE to dist/azwi.cdx.json (CycloneDX)
	@PYTHON=$(PY) sh scripts/sbom.sh "$(ARCHIVE)" dist/azwi.cdx.json

dist: .venv/run.stamp ## build the wheel and the source distribution in dist/, and check them as the index does
	@PYTHON=$(PY) sh scripts/dist.sh dist

.PHONY: release site site-check
site: .venv/run.stamp ## build the manual as a static site in dist/site, and check every link and anchor
	@PYTHON=$(PY) sh scripts/site.sh dist/site

site-check: site ## look at every page of the site in headless Chromium, by axe and at two widths (needs npm and chromium)
	@sh scripts/site_check/check.sh dist/site $(SCREENSHOTS)

release: .venv/run.stamp ## make every file of release VERSION from the commit checked out (see docs/develop/release.md)
	@$(PY) -m scripts.release "$(VERSION)" $(RELEASE)

.PHONY: first-use
first-use: .venv/test.stamp ## follow the manual from the files of a release, in a fresh container, to the first pod on a node (needs root)
	@$(PY) -m tests.first_use $(RELEASE)

clean: ## remove everything that make created in this folder
	rm -rf .venv .venv-scan .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage dist build
	find . -name __pycache__ -prune -exec rm -rf {} +
