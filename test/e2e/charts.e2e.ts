import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { type Manifest, synthesize } from '../../infra/synth.ts'
import { system } from '../../infra/system.ts'
import { inParallel, nameOf } from '../../scripts/cluster/apply.ts'
import { describeImages, release } from '../../scripts/cluster/release.ts'
import { followRollouts, workloadsOf } from '../../scripts/cluster/rollout.ts'
import { smoke } from '../../scripts/smoke.ts'
import { createSteps } from '../../scripts/terminal.ts'
import { cluster, context, eventually, ingressUrl, NAMESPACE, report, settings } from './support/target.ts'

const CHART = `charts/${system.name}`
const run = promisify(execFile)
const helm = (...args: string[]) => run('helm', [...args, '--kube-context', context], { maxBuffer: 16 << 20 })
const { signal } = new AbortController()

const hasHelm = await run('helm', ['version']).then(
  () => true,
  () => false,
)
if (!hasHelm) process.stderr.write('SKIPPED: the chart cannot be tried, for helm is not installed\n')

const images = await describeImages(system, settings)
const { shop } = synthesize({ system, settings, images: Object.fromEntries(images.map(({ service, reference }) => [service, reference])) })

describe.runIf(hasHelm)('the Helm chart', () => {
  test('passes helm lint --strict', async () => {
    expect((await run('helm', ['lint', '--strict', CHART])).stdout).toContain('1 chart(s) linted, 0 chart(s) failed')
  })

  test('equals dist/ object for object with its default values', async () => {
    const { stdout } = await run('helm', ['template', system.name, CHART], { maxBuffer: 16 << 20 })
    const rendered = parseAllDocuments(stdout).map(document => document.toJS() as Manifest)
    const byName = (manifests: readonly Manifest[]) => Object.fromEntries(manifests.map(manifest => [nameOf(manifest), manifest]))
    expect(byName(rendered)).toEqual(byName(shop))
    report(`${rendered.length} objects are equal`)
  })

  test.each([
    ['services.user.tag=latest', /services\/user\/tag|services\.user\.tag/],
    ['services.order.minReplicas=0', /services\/order\/minReplicas|services\.order\.minReplicas/],
    ['image.pullPolicy=Sometimes', /image\/pullPolicy|image\.pullPolicy/],
    ['hots=shop.example.org', /hots/],
    ['services.user.resources.limits.cpu=lots', /resources\/limits\/cpu|resources\.limits\.cpu/],
  ])('refuses %s and names the value', async (setting, message) => {
    const failed = await run('helm', ['template', system.name, CHART, '--set', setting]).catch(error => error)
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(message)
  })

  describe('on the cluster', () => {
    const ours = shop.filter(({ kind }) => kind !== 'Namespace')
    const workloads = workloadsOf(ours)
    const ready = () => followRollouts(cluster, workloads, { timeoutMs: 240_000, signal })

    beforeAll(async () => {
      await inParallel(ours, manifest => cluster.remove(manifest))
      await eventually(
        () => cluster.list('v1', 'Pod', NAMESPACE),
        pods => expect(pods).toEqual([]),
        90_000,
      )
    })

    afterAll(async () => {
      await helm('uninstall', system.name, '--wait')
      await release(cluster, images, createSteps(), { system, settings, crds: process.env.FAIRLEAD_CRDS, timeoutMs: 240_000, signal })
    }, 300_000)

    // The namespace is there: it has the Secrets, and what the platform may do in it.
    test('helm install reaches the state of npm run up', async () => {
      await helm('install', system.name, CHART, '--set', 'namespace.create=false')
      await ready()
      for (const manifest of ours) {
        const { apiVersion, kind, metadata, ...content } = manifest
        const live = await cluster.read({ apiVersion, kind, metadata })
        if (kind === 'Deployment') delete live?.spec.replicas
        expect(live, nameOf(manifest)).toMatchObject(content)
      }
      report(
        `${ours.length} objects are as npm run up makes them; order ${(await smoke({ baseUrl: ingressUrl, host: settings.HOST, signal })).orderId}`,
      )
    })

    test('helm upgrade changes what a value says', async () => {
      await helm('upgrade', system.name, CHART, '--set', 'namespace.create=false', '--set', 'logLevel=debug')
      await ready()
      const live = await cluster.read({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'order', namespace: NAMESPACE } })
      const env = live?.spec.template.spec.containers[0].env
      expect(env.find(({ name }: { name: string }) => name === 'LOG_LEVEL')).toEqual({ name: 'LOG_LEVEL', value: 'debug' })
      await smoke({ baseUrl: ingressUrl, host: settings.HOST, signal })
    })
  })
})
