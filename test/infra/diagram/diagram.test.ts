import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { entryServices } from '../../../infra/kit/constructs/ingress.ts'
import { type Layout, type Link, layOut, type Node, type Rect } from '../../../infra/kit/diagram/layout.ts'
import { diagramMermaid } from '../../../infra/kit/diagram/mermaid.ts'
import { diagramSvg } from '../../../infra/kit/diagram/svg.ts'
import { databaseOf, type Edge, type ServiceDefinition, type SystemDefinition } from '../../../services/chassis/contract/graph.ts'
import { booking, hello, project, stock, system } from '../../support/acme.ts'

const diagrams = { svg: diagramSvg, mermaid: diagramMermaid }

type Calls = Record<string, readonly string[]>

/** A service of the name, like stock but with these calls; it is on the ingress when it is named so. */
function grow(calls: Calls, open: readonly string[]): SystemDefinition {
  const services = new Map<string, ServiceDefinition & { calls: Edge[] }>()
  for (const [i, name] of Object.keys(calls).entries()) {
    const contract = open.includes(name) ? stock.contract : {}
    services.set(name, { ...stock, name, port: 7_000 + i, contract, database: i % 3 === 0 ? undefined : name, calls: [] })
  }
  for (const [name, callees] of Object.entries(calls)) {
    for (const [i, callee] of callees.entries()) {
      const to = services.get(callee) as ServiceDefinition
      services.get(name)?.calls.push({ to, mode: i % 2 === 0 ? 'required' : 'optional', attemptTimeoutMs: 100 * (i + 1), maxAttempts: i + 1 })
    }
  }
  return { name: 'grown', services: [...services.values()] }
}

const grown = grow(
  {
    stock: [],
    booking: ['stock', 'payment', 'shipping', 'catalog'],
    catalog: [],
    cart: ['catalog', 'stock', 'booking'],
    payment: ['mail'],
    shipping: ['mail'],
    mail: [],
    report: [],
  },
  ['stock', 'booking', 'catalog', 'cart'],
)

const percent = (share: number) => `${Number((share * 100).toFixed(4))} %`
const xml = (text: string) => text.replaceAll('<', '&#60;')
const inSvg = (text: string) => `>${xml(text)}</text>`
const countOf = (text: string, part: string) => text.split(part).length - 1

describe.each([
  ['two services', system as SystemDefinition],
  ['a graph of eight', grown],
])('both diagrams of %s', (_, graph) => {
  const svg = diagramSvg(graph)
  const mermaid = diagramMermaid(graph)

  test.each(graph.services.map(service => [service.name, service] as const))('have %s with port, objectives and database', (name, service) => {
    const { port, slo } = service
    const database = databaseOf(service)
    const answered = `${percent(slo.availability)} answered`
    const fast = `${percent(slo.latency.objective)} < ${slo.latency.thresholdMs} ms`
    for (const text of [name, `:${port}`, answered, fast]) expect(svg).toContain(inSvg(text))
    expect(mermaid).toContain(`service_${name}["${name} :${port}<br/>${answered}<br/>${fast.replace('<', '#lt;')}"]`)
    if (database) expect(mermaid).toContain(`service_${name} --- database_${name}[("${database}")]`)
    else expect(mermaid).not.toContain(`database_${name}`)
  })

  test('have a cylinder for each database', () => {
    expect(countOf(svg, 'class="database"')).toBe(graph.services.filter(({ database }) => database).length)
  })

  test('have each edge with port, mode, attempts and time', () => {
    const edges = graph.services.flatMap(({ name, calls }) => calls.map(edge => ({ from: name, ...edge })))
    for (const { from, to, mode, maxAttempts = 2, attemptTimeoutMs, protocol } of edges) {
      const [what, time] = [`${protocol === 'grpc' ? `${to.grpc?.port} gRPC` : to.port} · ${mode}`, `${maxAttempts} × ${attemptTimeoutMs} ms`]
      expect(svg).toContain(`${inSvg(what)}`)
      expect(svg).toContain(`${from} to ${to.name}: ${what} · ${time}.`)
      expect(mermaid).toContain(`service_${from} ${mode === 'optional' ? '-.->' : '-->'}|"${what}<br/>${time}"| service_${to.name}\n`)
    }
    expect(countOf(svg, 'marker-end')).toBe(edges.length + entryServices({ system: graph }).length)
    expect(countOf(svg, 'class="line optional" marker-end')).toBe(edges.filter(({ mode }) => mode === 'optional').length)
  })

  test('have the ingress, with arrows to the services that have public paths and to no other', () => {
    const entries = entryServices({ system: graph }).map(({ name, port }) => `ingress -->|"${port}"| service_${name}`)
    expect(mermaid.match(/ingress -->.*/g)).toEqual(entries)
    expect(entries.length).toBeGreaterThan(0)
    expect(svg).toContain(inSvg('ingress'))
  })
})

describe('the diagrams', () => {
  test.each([
    ['an edge that is removed', [stock, { ...booking, calls: [] }]],
    ['a mode', [stock, { ...booking, calls: [{ ...booking.calls[0], mode: 'required' as const }] }]],
    ['an objective', [{ ...stock, slo: { ...stock.slo, availability: 0.9995 } }, booking]],
    ['a database that is gone', [stock, { ...booking, database: undefined }]],
    ['a contract without public paths', [{ ...stock, contract: {} }, booking]],
  ])('change with %s', (_, services) => {
    for (const diagram of Object.values(diagrams)) expect(diagram({ ...system, services: [hello, ...services] })).not.toBe(diagram(system))
  })

  test('leave the ingress out when nothing is public', () => {
    const inside = { name: 'inside', services: [{ ...stock, contract: {} }] }
    for (const diagram of Object.values(diagrams)) expect(diagram(inside)).not.toMatch(/>ingress<|ingress\(/)
  })

  test('escape what they are given', () => {
    const odd = { name: 'a & <b>', services: [{ ...stock, name: '"<i>&', database: "d'<x>#" }] }
    const svg = diagramSvg(odd)
    expect(svg).toContain('>The services of a &#38; &#60;b&#62; and their calls</title>')
    expect(svg).toContain('>&#34;&#60;i&#62;&#38;</text>')
    expect(svg).toContain('>d&#39;&#60;x&#62;#</text>')
    expect(svg).not.toMatch(/<[bix]>/)
    const mermaid = diagramMermaid(odd)
    expect(mermaid).toContain('["#quot;#lt;i#gt;#amp; :8081<br/>')
    expect(mermaid).toContain(`[("d'#lt;x#gt;#35;")]`)
  })
})

describe('the SVG', () => {
  const svg = diagramSvg(grown)
  const numbers = (text: string) => text.split(' ').map(Number)

  test('says in words what it shows, and runs nothing', () => {
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" .* role="img" aria-labelledby="title desc">/)
    expect(svg).toContain('<title id="title">The services of grown and their calls</title>')
    expect(svg).toContain('<desc id="desc">stock on port 7000: 99.9 % answered · 99 % &#60; 250 ms. ')
    expect(svg).not.toMatch(/<script|<foreignObject|href|\bon\w+=|url\((?!#)|@import/)
  })

  test('has a ground of its own and colours for both schemes', () => {
    const drawn = svg.slice(svg.indexOf('</defs>'))
    expect(drawn).toMatch(/^<\/defs>\n<rect class="card"/)
    const [light = '', dark = ''] = svg.slice(0, svg.indexOf('</style>')).split('@media (prefers-color-scheme: dark)')
    for (const kind of ['card', 'service', 'ingress', 'database', 'line', 'tip', 'quiet']) {
      const rule = new RegExp(`\\.${kind} \\{ (fill|stroke): #`)
      expect([kind, rule.test(light), rule.test(dark)]).toEqual([kind, true, true])
    }
  })

  test('closes every element that it opens', () => {
    const open: string[] = []
    for (const [, closing, name = '', empty] of svg.replaceAll(/<!--.*?-->/g, '').matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
      if (closing) expect(open.pop()).toBe(name)
      else if (!empty) open.push(name)
    }
    expect(open).toEqual([])
  })

  test('has all boxes and words inside its frame, and no box on another', () => {
    const [, , width = 0, height = 0] = numbers(/viewBox="([\d .]+)"/.exec(svg)?.[1] ?? '')
    const margin = Number(/translate\((\d+) /.exec(svg)?.[1])
    const boxes = [...svg.matchAll(/<rect class="(?:service|ingress)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)]
      .map(([, ...sides]) => sides.slice(0, 4).map(Number))
      .map(([x = 0, y = 0, w = 0, h = 0]): Rect => ({ x, y, width: w, height: h }))
    expect(boxes).toHaveLength(9)
    for (const box of boxes) {
      expect(box.x + box.width + margin).toBeLessThan(width)
      expect(box.y + box.height + margin).toBeLessThan(height)
    }
    for (const [i, box] of boxes.entries()) for (const other of boxes.slice(i + 1)) expect(overlap(box, other)).toBe(false)
    for (const [, x, y] of svg.matchAll(/<text class="[\w ]+" x="([\d.]+)" y="([\d.]+)"/g)) {
      expect(Number(x) + margin).toBeLessThan(width)
      expect(Number(y) + margin).toBeLessThan(height)
    }
  })
})

describe('the Mermaid text', () => {
  const id = '(?:ingress|(?:service|database)_[a-z0-9_]+)'
  const quoted = '"[^"]*"'
  const line = new RegExp(
    `^  (?:ingress\\(\\[${quoted}\\]\\)|${id}\\[${quoted}\\]|${id} --- ${id}\\[\\(${quoted}\\)\\]|${id} (?:-->|-\\.->)\\|${quoted}\\| ${id})$`,
  )

  // `end` as an id breaks a flowchart: https://mermaid.js.org/syntax/flowchart.html
  test('has words of Mermaid and dashes only in quotes', () => {
    const lines = diagramMermaid(grow({ end: ['graph', 'a-b'], graph: [], 'a-b': [] }, ['end']))
      .trimEnd()
      .split('\n')
    expect(lines.slice(1, 3)).toEqual(['flowchart LR', '  accTitle: The services of grown and their calls'])
    for (const text of lines.slice(3)) expect(text).toMatch(line)
    expect(lines).toContain('  service_end -.->|"7002 · optional<br/>2 × 200 ms"| service_a_b')
  })

  test('has every id at the ends of its arrows as a node', () => {
    const text = diagramMermaid(grown)
    const arrows = [...text.matchAll(/^ {2}(\w+) (?:-->|-\.->)\|.*\| (\w+)$/gm)]
    expect(arrows.length).toBeGreaterThan(8)
    for (const [, from = '', to = ''] of arrows) {
      for (const end of [from, to]) expect(text).toMatch(new RegExp(`^ {2}${end}[[(]`, 'm'))
    }
  })
})

const overlap = (a: Rect, b: Rect) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height

/** Points along an arrow, close to each other. */
function pointsOf({ bends }: Layout['routes'][number]): { x: number; y: number }[] {
  const steps = Array.from({ length: 21 }, (_, i) => i / 20)
  return bends.flatMap(({ x1, y1, x2, y2 }, i) => {
    // A cubic curve with level ends.
    const curve = steps.map(t => ({ x: x1 + (x2 - x1) * (1.5 * t * (1 - t) + t ** 3), y: y1 + (y2 - y1) * t * t * (3 - 2 * t) }))
    const next = bends[i + 1]
    return next ? [...curve, ...steps.map(t => ({ x: x2 + (next.x1 - x2) * t, y: y2 }))] : curve
  })
}

describe('a layout', () => {
  const graph = fc.integer({ min: 1, max: 15 }).chain(count => {
    const node = (i: number) =>
      fc.record({ id: fc.constant(`n${i}`), width: fc.integer({ min: 40, max: 300 }), height: fc.constant(78), hangs: fc.constantFrom(0, 54) })
    const pairs = Array.from({ length: count }, (_, i) => Array.from({ length: i }, (_, j) => [`n${j}`, `n${i}`] as const)).flat()
    const links = fc
      .subarray(pairs, { maxLength: Math.min(30, pairs.length) })
      .map(chosen => chosen.map(([from, to], i): Link => ({ from, to, labelWidth: 30 + 10 * (i % 9) })))
    return fc.record({ nodes: fc.tuple(...Array.from({ length: count }, (_, i) => node(i))), links })
  })
  const whole = ({ hangs = 0 }: Node, rect: Rect): Rect => ({ ...rect, height: rect.height + hangs })

  test('of any acyclic graph of up to 15 has nothing on anything else, and arrows that meet no box but their own', () => {
    fc.assert(
      fc.property(graph, ({ nodes, links }) => {
        const { width, height, boxes, routes } = layOut(nodes, links)
        const rects = nodes.map(node => whole(node, boxes.get(node.id) as Rect))
        const labels = routes.map(({ label }, i) => ({
          x: label.x - (links[i]?.labelWidth ?? 0) / 2,
          y: label.y - 18,
          width: links[i]?.labelWidth ?? 0,
          height: 36,
        }))
        const all = [...rects, ...labels]
        for (const [i, rect] of all.entries()) {
          expect(rect.x >= 0 && rect.y >= 0 && rect.x + rect.width <= width && rect.y + rect.height <= height + 1).toBe(true)
          for (const other of all.slice(i + 1)) expect(overlap(rect, other)).toBe(false)
        }
        for (const [i, route] of routes.entries()) {
          const others = [...rects, ...labels.filter((_, j) => j !== i)]
          for (const { x, y } of pointsOf(route)) expect(others.find(rect => overlap(rect, { x, y, width: 0, height: 0 }))).toBeUndefined()
        }
      }),
      { numRuns: 60 },
    )
  })

  test('has callers left of their callees, ranked by the longest way', () => {
    const node = (id: string): Node => ({ id, width: 100, height: 40 })
    const link = (from: string, to: string): Link => ({ from, to, labelWidth: 50 })
    const { boxes } = layOut(['d', 'c', 'b', 'a'].map(node), [link('a', 'd'), link('a', 'b'), link('b', 'c'), link('c', 'd')])
    const lefts = ['a', 'b', 'c', 'd'].map(id => boxes.get(id)?.x ?? 0)
    expect(lefts).toEqual(lefts.toSorted((a, b) => a - b))
    expect(new Set(lefts).size).toBe(4)
  })

  test('of a cycle is refused with its names', () => {
    expect(() => diagramSvg(grow({ a: ['b'], b: ['c'], c: ['a'] }, []))).toThrow('a cycle: a -> b -> c -> a')
  })
})

describe('npm run diagram', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fairlead-diagram-'))
    await symlink(join(project.root, 'infra'), join(dir, 'infra'))
    return () => rm(dir, { recursive: true, force: true })
  })

  const diagram = (...args: string[]) =>
    promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', resolve('scripts/fairlead.mjs'), 'diagram', ...args], {
      cwd: dir,
    }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    )

  test('writes both files; --check names the one that drifts', async () => {
    expect(await diagram()).toEqual({ code: 0, stdout: 'docs/diagram.svg, docs/diagram.mmd\n', stderr: '' })
    expect(await diagram('--check')).toEqual({ code: 0, stdout: '', stderr: 'docs/diagram.svg and docs/diagram.mmd are what the graph gives\n' })
    await writeFile(join(dir, 'docs/diagram.mmd'), 'flowchart LR\n')
    const { code, stderr } = await diagram('--check')
    expect([code, stderr]).toEqual([1, 'error: not what the graph gives: docs/diagram.mmd; npx fairlead diagram writes them\n'])
    expect(await readFile(join(dir, 'docs/diagram.mmd'), 'utf8')).toBe('flowchart LR\n')
  })

  test('--svg and --mermaid print and write nothing', async () => {
    expect(await diagram('--svg')).toEqual({ code: 0, stdout: diagramSvg(system), stderr: '' })
    expect(await diagram('--mermaid')).toEqual({ code: 0, stdout: diagramMermaid(system), stderr: '' })
    const { code, stderr } = await diagram('--check')
    expect([code, stderr]).toEqual([1, expect.stringContaining('docs/diagram.svg, docs/diagram.mmd')])
  })

  test.each([
    [['--colour'], "'--colour'"],
    [['--svg', '--check'], "option '--check' cannot be used with option '--svg'"],
  ])('%j is refused with one line', async (args, message) => {
    const { code, stderr } = await diagram(...args)
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})
