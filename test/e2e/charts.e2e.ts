import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { describeImages } from '../../infra/kit/image/image.ts'
import type { Manifest } from '../../infra/kit/objects/manifest.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { system } from '../../infra/system.ts'
import { nameOf } from '../../scripts/cluster/apply.ts'
import type { Reference } from '../../scripts/cluster/cluster.ts'
import { release } from '../../scripts/cluster/release.ts'
import { followRollouts, workloadsOf } from '../../scripts/cluster/rollout.ts'
import { createSteps } from '../../scripts/terminal.ts'
import { takeJourney } from './support/journey.ts'
import { restoreBounds, scaleTo } from './support/scale.ts'
import { cluster, context, eventually, NAMESPACE, report, settings } from './support/target.ts'

const CHART = `charts/${system.name}`
const run = promisify(execFile)
const helm = (...args: string[]) => run('helm', [...args, '--kube-context', context, '--namespace', NAMESPACE], { maxBuffer: 16 << 20 })
const { signal } = new AbortController()

const hasHelm = await run('helm', ['version']).then(
  () => true,
  () => false,
)
if (!hasHelm) process.stderr.write('SKIPPED: the chart cannot be tried, for helm is not installed\n')

const images = await describeImages(app, settings)
const { own } = synthesize({ ...app, settings, images: Object.fromEntries(images.map(({ service, reference }) => [service, reference])) })

/** As npx fairlead images --helm prints them: the chart's own are of a base that is known by its name alone. */
const TAGS = images.flatMap(({ service, tag }) => ['--set', `services.${service}.tag=${tag}`])

/** What the chart has: the namespace is made before it, and outlives it. */
const ours = own.filter(({ kind }) => kind !== 'Namespace')

const page = await readFile('docs/operating.md', 'utf8')

/** Runs a line of docs/operating.md as it is printed there; NAME is the one thing to fill in. */
async function runPrinted(beginning: string, env: Record<string, string>): Promise<string> {
  const line = page.split('\n').find(candidate => candidate.startsWith(`    ${beginning}`))
  if (!line) throw new Error(`docs/operating.md has no line that begins with ${beginning}`)
  const command = line.replace(/ +#.*/, '').replace(/\bNAME\b/, context)
  return (await run('bash', ['-euc', command], { env: { ...process.env, ...env }, maxBuffer: 16 << 20 })).stdout
}

describe.runIf(hasHelm)('the Helm chart', () => {
  test('passes helm lint --strict', async () => {
    expect((await run('helm', ['lint', '--strict', CHART])).stdout).toContain('1 chart(s) linted, 0 chart(s) failed')
  })

  test('equals dist/ object for object with its default values', async () => {
    const { stdout } = await run('helm', ['template', system.name, CHART, '--namespace', NAMESPACE, ...TAGS], { maxBuffer: 16 << 20 })
    const rendered = parseAllDocuments(stdout).map(document => document.toJS() as Manifest)
    const byName = (manifests: readonly Manifest[]) => Object.fromEntries(manifests.map(manifest => [nameOf(manifest), manifest]))
    expect(byName(rendered)).toEqual(byName(ours))
    report(`${rendered.length} objects are equal`)
  })

  test.each([
    ['services.user.tag=latest', /services\/user\/tag|services\.user\.tag/],
    ['services.order.minReplicas=0', /services\/order\/minReplicas|services\.order\.minReplicas/],
    ['image.pullPolicy=Sometimes', /image\/pullPolicy|image\.pullPolicy/],
    ['hots=shop.example.org', /hots/],
    ['services.user.resources.limits.cpu=lots', /resources\/limits\/cpu|resources\.limits\.cpu/],
  ])('refuses %s and names the value', async (setting, message) => {
    const failed = await run('helm', ['template', system.name, CHART, '--namespace', NAMESPACE, '--set', setting]).catch(error => error)
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(message)
  })

  test('takes no namespace that others use', async () => {
    const failed = await run('helm', ['template', system.name, CHART]).catch(error => error)
    expect(failed.stderr).toContain('--namespace NAME --create-namespace')
  })

  describe('in a namespace that has nothing yet', () => {
    const namespace = `${NAMESPACE}-helm`
    const env = { NAMESPACE: namespace, IMAGE_REGISTRY: settings.IMAGE_REGISTRY }
    const here = (manifest: Reference): Reference => ({ ...manifest, metadata: { ...manifest.metadata, namespace } })
    const ready = () => followRollouts(cluster, workloadsOf(ours).map(here), { timeoutMs: 240_000, signal })
    const kept = async () => {
      const [secrets, claims] = await Promise.all(['Secret', 'PersistentVolumeClaim'].map(kind => cluster.list('v1', kind, namespace)))
      const passwords = secrets?.find(({ metadata }) => metadata.name === 'postgres-roles')?.data
      return { passwords, claims: claims?.map(({ metadata }) => `${metadata.name} ${metadata.uid}`) }
    }

    // Room for a second system on one small node.
    beforeAll(async () => {
      for (const { name } of system.services) await scaleTo(name, 1)
    })

    afterAll(async () => {
      await restoreBounds()
      const reference = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
      await cluster.remove(reference)
      await eventually(
        () => cluster.exists(reference),
        exists => expect(exists).toBe(false),
        120_000,
      )
    }, 150_000)

    test('comes to serve by the lines of docs/operating.md as they are printed', async () => {
      await runPrinted('npm run secrets', env)
      expect(await runPrinted('helm install', env)).toContain(`${namespace}/signing-keys`)
      await ready()
      const live = await cluster.read({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
      expect(live?.metadata.labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'restricted' })
    })

    test('keeps the namespace, the Secrets and the database when it is uninstalled, and takes them up again', async () => {
      const before = await kept()
      expect(before).toMatchObject({ passwords: { user: expect.any(String) }, claims: [expect.stringMatching(/^data-postgres-0 /)] })
      await run('helm', ['uninstall', system.name, '--wait', '--kube-context', context, '--namespace', namespace])
      expect(await cluster.list('apps/v1', 'Deployment', namespace)).toEqual([])
      expect(await kept()).toEqual(before)
      await runPrinted('npm run secrets', env)
      await runPrinted('helm install', env)
      await ready()
      expect(await kept()).toEqual(before)
    })
  })

  describe('over what npx fairlead up has brought', () => {
    const workloads = workloadsOf(ours)
    const ready = () => followRollouts(cluster, workloads, { timeoutMs: 240_000, signal })

    afterAll(async () => {
      await helm('uninstall', system.name, '--wait')
      await release(cluster, images, createSteps(), {
        project: app,
        settings,
        crds: { folder: process.env.FAIRLEAD_CRDS },
        timeoutMs: 240_000,
        signal,
      })
    }, 300_000)

    test('helm install takes over every object as it is', async () => {
      await helm('install', system.name, CHART, '--take-ownership', ...TAGS)
      await ready()
      for (const manifest of ours) {
        const { apiVersion, kind, metadata, ...content } = manifest
        const live = await cluster.read({ apiVersion, kind, metadata })
        if (kind === 'Deployment') delete live?.spec.replicas
        expect(live, nameOf(manifest)).toMatchObject(content)
      }
      report(`${ours.length} objects are as npx fairlead up makes them; ${await takeJourney()}`)
    })

    test('helm upgrade changes what a value says', async () => {
      await helm('upgrade', system.name, CHART, ...TAGS, '--set', 'logLevel=debug')
      await ready()
      const live = await cluster.read({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'order', namespace: NAMESPACE } })
      const env = live?.spec.template.spec.containers[0].env
      expect(env.find(({ name }: { name: string }) => name === 'LOG_LEVEL')).toEqual({ name: 'LOG_LEVEL', value: 'debug' })
      await takeJourney()
    })
  })
})
