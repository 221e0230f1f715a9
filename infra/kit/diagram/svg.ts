import type { SystemDefinition } from '@fairlead/chassis'
import { type Layout, layOut, type Rect, type Route } from './layout.ts'
import { type Arrow, type Picture, pictureOf, type Service } from './picture.ts'
import { STYLE } from './svg-style.ts'

const BOX = { minWidth: 150, height: 78, padding: 14 }
const CYLINDER = { height: 40, gap: 14, lip: 6, padding: 18 }
const INGRESS = { id: ':ingress', width: 96, height: 44 }
const MARGIN = 28
/** Length of the level piece that an arrow ends with. */
const TIP = 10
const LEGEND = { height: 34, sample: 30, gap: 28 }

const xml = (text: string): string => text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)

/** Enough for the widest font of the stack, in pixels: none is measured here. */
function widthOf(text: string, fontSize = 12): number {
  const em = (character: string) => (/[ .,:·fijlrt-]/.test(character) ? 0.38 : /[%@mwA-Z]/.test(character) ? 0.92 : 0.66)
  return Math.ceil([...text].reduce((sum, character) => sum + em(character), 0) * fontSize)
}

const write = (kind: string, x: number, y: number, text: string): string => `<text class="${kind}" x="${x}" y="${y}">${xml(text)}</text>`

function boxWidth({ name, port, objectives }: Service): number {
  const head = widthOf(name, 15) + 16 + widthOf(`:${port}`, 13)
  return Math.max(BOX.minWidth, 2 * BOX.padding + Math.max(head, ...objectives.map(line => widthOf(line))))
}

function place({ services, arrows }: Picture): Layout {
  const entered = arrows.some(({ from }) => !from)
  const nodes = services.map(service => ({
    id: service.name,
    width: boxWidth(service),
    height: BOX.height,
    hangs: service.database ? CYLINDER.gap + CYLINDER.height : 0,
    minRank: entered ? 1 : 0,
  }))
  const links = arrows.map(({ from = INGRESS.id, to, label }) => ({ from, to, labelWidth: Math.max(...label.map(line => widthOf(line))) }))
  return layOut(entered ? [INGRESS, ...nodes] : nodes, links)
}

function drawIngress({ x, y, width, height }: Rect): string {
  const box = `<rect class="ingress" x="${x}" y="${y}" width="${width}" height="${height}" rx="${height / 2}"/>`
  return `<g>${box}${write('middle', x + width / 2, y + height / 2 + 4, 'ingress')}</g>`
}

function drawService({ name, port, objectives, database }: Service, { x, y, width, height }: Rect): string {
  return [
    `<g><rect class="service" x="${x}" y="${y}" width="${width}" height="${height}" rx="8"/>`,
    write('name', x + BOX.padding, y + 26, name),
    write('port quiet', x + width - BOX.padding, y + 26, `:${port}`),
    ...objectives.map((line, i) => write('quiet', x + BOX.padding, y + 48 + 17 * i, line)),
    `${database ? drawDatabase(database, x + width / 2, y + height) : ''}</g>`,
  ].join('')
}

function drawDatabase(name: string, middle: number, y: number): string {
  const { height, gap, lip, padding } = CYLINDER
  const half = widthOf(name) / 2 + padding
  const top = y + gap + lip
  const arc = (sweep: 0 | 1, way: 1 | -1) => `a${half} ${lip} 0 0 ${sweep} ${way * 2 * half} 0`
  const wall = height - 2 * lip
  return [
    `<path class="line" d="M${middle} ${y}v${gap}"/>`,
    `<path class="database" d="M${middle - half} ${top}${arc(1, 1)}v${wall}${arc(1, -1)}z"/>`,
    `<path class="lip" d="M${middle - half} ${top}${arc(0, 1)}"/>`,
    write('middle', middle, top + wall / 2 + 8, name),
  ].join('')
}

function drawArrow({ mode, label }: Arrow, route: Route): string {
  const bends = route.bends.map(({ x1, y1, x2, y2 }) => {
    const [half, end] = [(x1 + x2 - TIP) / 2, x2 - TIP]
    return y1 === y2 ? `H${x2}` : `H${x1}C${half} ${y1} ${half} ${y2} ${end} ${y2}H${x2}`
  })
  // It begins under the box, for that has round corners.
  const [x, y] = [(route.bends[0]?.x1 ?? 0) - TIP, route.bends[0]?.y1]
  const lines = label.map((line, i) => write('middle', route.label.x, route.label.y + (i === 0 ? -6 : 15), line))
  return `<g><path class="line ${mode}" marker-end="url(#tip)" d="M${x} ${y}${bends.join('')}"/>${lines.join('')}</g>`
}

/** What lines and numbers mean, as a row. @returns its width beside it */
function drawLegend(y: number): { width: number; drawn: string } {
  const entries = [
    { mode: 'required', text: 'required' },
    { mode: 'optional', text: 'optional: the caller can do without it' },
    { text: 'n × t: attempts, and the longest time of one' },
  ]
  let x = 0
  const drawn = entries.map(({ mode, text }) => {
    const line = mode ? `<path class="line ${mode}" d="M${x} ${y - 4}h${LEGEND.sample}"/>` : ''
    if (mode) x += LEGEND.sample + 8
    const words = write('quiet', x, y, text)
    x += widthOf(text) + LEGEND.gap
    return line + words
  })
  return { width: x - LEGEND.gap, drawn: drawn.join('') }
}

/** In words, what the arrows say. */
const tell = ({ services, arrows }: Picture): string =>
  [
    ...services.map(
      ({ name, port, objectives, database }) => `${name} on port ${port}: ${objectives.join(' · ')}${database ? `, database ${database}` : ''}.`,
    ),
    ...arrows.map(({ from = 'ingress', to, label }) => `${from} to ${to}: ${label.join(' · ')}.`),
  ].join(' ')

/** The system as an SVG image, readable on a light and on a dark page. */
export function diagramSvg(system: SystemDefinition): string {
  const picture = pictureOf(system)
  const layout = place(picture)
  const legend = drawLegend(layout.height + LEGEND.height)
  const width = Math.max(layout.width, legend.width) + 2 * MARGIN
  const height = layout.height + LEGEND.height + 2 * MARGIN
  const rects = [...layout.boxes].map(([id, rect]) => ({ rect, service: picture.services.find(({ name }) => name === id) }))
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title desc">`,
    '<!-- Written by npx fairlead diagram. -->',
    `<title id="title">${xml(picture.title)}</title>`,
    `<desc id="desc">${xml(tell(picture))}</desc>`,
    `<style>${STYLE}</style>`,
    '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path class="tip" d="M0 0L10 5L0 10z"/></marker></defs>',
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10"/>`,
    `<g transform="translate(${MARGIN} ${MARGIN})">`,
    ...picture.arrows.map((arrow, i) => drawArrow(arrow, layout.routes[i] as Route)),
    ...rects.map(({ rect, service }) => (service ? drawService(service, rect) : drawIngress(rect))),
    legend.drawn,
    '</g>',
    '</svg>',
  ]
  return `${lines.join('\n')}\n`
}
